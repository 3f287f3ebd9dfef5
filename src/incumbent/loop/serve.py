"""Serve: one request in, one page out, one impression on record.

service.recommendations -> Gateway.recommend -> models (both at once) -> policy.choose -> log.append: four hops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from msgspec import UNSET

from incumbent.clock import Clock
from incumbent.config import LimitsConfig
from incumbent.errors import DataError, NotFoundError, StoreError, TooLargeError, UnavailableError, near
from incumbent.events import codec
from incumbent.events.ids import EventIds, Signer, hash_user
from incumbent.events.plan import ServingPlan
from incumbent.events.schema import Impression, ModelAnswer
from incumbent.experiments import paging
from incumbent.experiments.assignment import assign
from incumbent.loop.generated import texts
from incumbent.loop.merge import Given, Merged, Page, clean_answers, merge
from incumbent.loop.requests import Debug, RecommendationAnswer, RecommendationRequest, ShownItem
from incumbent.loop.shoppers import Shoppers
from incumbent.loop.surface import Surface, make_ready
from incumbent.models.both import ask_all
from incumbent.models.guard import Guarded
from incumbent.models.recommender import Ask
from incumbent.stores.store import Log, Record

PLANS_KEPT = 16  # older plans whose rankings can still be continued
_NONE: frozenset[str] = frozenset()


class Gateway:
    """Answers every request within its deadline, whatever a model does, and puts every answer on record.

    `durable` waits for the impression's sync before it answers; otherwise the impression is on disk at most
    `max_delay_s` and one sync after the answer, and that is what a power cut may take. `exclusions` (user id as logged
    -> items) and `shoppers` (what else they excluded) are read at each request: whoever owns them may change them at
    any time.

    Where the log refuses (disk full, read-only) shoppers are still answered, with ``logged=false``; no candidate is
    shown while that lasts, because exposures that nobody records could credit the wrong model later. `problem` says so
    to the readiness probe, and the log keeps what it can in memory and tries again.
    """

    def __init__(
        self, log: Log, *, clock: Clock, ids: EventIds, signer: Signer, user_secret: bytes | None = None,
        durable: bool = False, max_delay_s: float = 0.02, limits: LimitsConfig | None = None,
        exclusions: Mapping[str, AbstractSet[str]] | None = None, observe: Callable[[Impression], None] | None = None,
        shoppers: Shoppers | None = None,
    ) -> None:
        self._log, self._ids, self._signer, self._user_secret = log, ids, signer, user_secret
        self._now, self._monotonic = clock.now, clock.monotonic
        self._durable, self._max_delay_s = durable, max_delay_s
        self._limits = limits or LimitsConfig()
        self._exclusions: Mapping[str, AbstractSet[str]] = {} if exclusions is None else exclusions
        self._observe = observe
        self._shoppers = shoppers or Shoppers()
        self._plans: dict[str, ServingPlan] = {}
        self._ready: dict[str, dict[str, Surface]] = {}
        self._surfaces: dict[str, Surface] = {}
        self._guards: dict[str, Guarded] = {}
        self._delisted: frozenset[str] = _NONE
        self.plan: ServingPlan | None = None

    # -------------------------------------------------------------------------------------------------------- plan
    def use(self, plan: ServingPlan, guards: Mapping[str, Guarded], history: Sequence[ServingPlan] = ()) -> None:
        """Serve by this plan from the next request on; `ConfigError` (and the old plan stays) where it cannot be.

        Rankings begun under one of the last plans, or one in `history`, go on under it while its models are the same
        and this plan still serves the experiment that they were begun in.
        """
        delisted, plan_hash = frozenset(plan.delisted), plan.hash
        surfaces = make_ready(plan, plan_hash, guards, delisted)
        before = {old_hash: old for old_hash, old in self._plans.items() if old_hash != plan_hash}
        kept = {old.hash: old for old in history} | dict(list(before.items())[-PLANS_KEPT + 1:]) | {plan_hash: plan}
        same = delisted == self._delisted and all(self._guards.get(name) is guard for name, guard in guards.items())
        ready = {plan_hash: surfaces}
        for old_hash, old in kept.items():
            if old_hash != plan_hash and all(plan.models.get(name) == model for name, model in old.models.items()):
                found = self._ready.get(old_hash) if same else None
                ready[old_hash] = found or make_ready(old, old_hash, guards, delisted)
        self._plans, self._ready, self._surfaces, self.plan = kept, ready, surfaces, plan
        self._guards, self._delisted = dict(guards), delisted

    @property
    def problem(self) -> str | None:
        """Why this gateway is not ready, None where it is."""
        if self.plan is None:
            return "no plan yet"
        return f"the log refuses: {self._log.error}" if self._log.error is not None else None

    # ----------------------------------------------------------------------------------------------------- request
    async def recommend(self, request: RecommendationRequest) -> RecommendationAnswer:
        """One page. Raises `NotFoundError`, `DataError` or `TooLargeError` for what cannot be asked, never for what a
        model or the disk does; `UnavailableError` before the first plan."""
        started = self._monotonic()
        surface = self._surfaces.get(request.surface)
        if surface is None:
            raise self._unknown(request.surface)
        if request.k > surface.plan.k_max:
            raise DataError("k is over the surface's limit", got=request.k, field="k",
                            expected=f"1 to {surface.plan.k_max}")
        self._check_limits(request)
        unit = request.user_id if self._user_secret is None else hash_user(request.user_id, self._user_secret)
        now = self._now()
        event_id = self._ids.new(now)
        surface, page = self._page(surface, request, unit, event_id)
        excluded = page.hidden.get("excluded", _NONE)
        ask = Ask(request.user_id, surface.name, surface.plan.depth, request.context, request.session_id,
                  tuple(sorted(excluded)) if excluded else (), page.ranking_id,
                  self._shoppers.categories(unit), self._shoppers.events(unit))
        deadline_s = (request.deadline_ms or surface.plan.deadline_ms) / 1000
        reserve_s = min(0.2 * deadline_s, 0.03 if self._durable else 0.01)  # for the draft, the log and the answer
        answers = await ask_all(surface.guards, ask, surface.plan.depth, deadline_s - reserve_s)
        given = clean_answers(surface, answers, page.hidden, unit)
        merged = merge(surface, given, page)
        impression = self._impression(request, surface, page, given, merged, event_id, now, started)
        record = Record(event_id, "impression", codec.encode(impression))
        logged = (await self._commit(record, started + deadline_s) if self._durable else self._post(record))
        if self._observe is not None:
            self._observe(impression)
        return self._answer(request, surface, page, given, merged, impression, logged)

    def _unknown(self, name: str) -> Exception:
        if self.plan is None:
            return UnavailableError("the gateway has no plan yet", hint="ask again in a second")
        listed = ", ".join(sorted(self._surfaces)[:20]) or "none is configured"
        return NotFoundError("no such surface", got=name, expected=f"one of {listed}", field="surface",
                             hint=near(name, self._surfaces))

    def _check_limits(self, request: RecommendationRequest) -> None:
        if len(request.exclude) > self._limits.exclude_items:
            raise TooLargeError("too many items to exclude", got=len(request.exclude), field="exclude",
                                expected=f"at most {self._limits.exclude_items}")
        if len(request.context) > self._limits.context_keys:
            raise TooLargeError("too many context keys", got=len(request.context), field="context",
                                expected=f"at most {self._limits.context_keys}")

    def _page(
        self, surface: Surface, request: RecommendationRequest, unit: str, event_id: str,
    ) -> tuple[Surface, Page]:
        """Which page of which ranking is asked for, and the surface as its plan has it."""
        cursor, stale = None, False
        if request.cursor is not None:
            cursor = paging.read(request.cursor, self._signer)
            if cursor.surface != surface.name or cursor.unit != paging.unit_digest(unit):
                raise DataError("cursor is of another ranking", field="cursor",
                                expected="the user and the surface that it was given for")
            before = self._ready.get(cursor.plan, {}).get(surface.name)
            if before is None or before.experiment_over(surface):
                stale = True
            else:
                surface = before
        excluded = self._exclusions.get(unit, _NONE)
        if request.exclude:
            excluded = excluded.union(request.exclude) if isinstance(excluded, frozenset) else {
                *excluded, *request.exclude}
        excluded = self._shoppers.barred(unit, excluded)
        hidden = {"excluded": excluded, **surface.hidden} if excluded else surface.hidden
        lane = assign(surface.experiment, unit, request.context)
        if cursor is not None:
            lane = cursor.lane if not stale else lane  # type: ignore[assignment]
        ranking_id = cursor.ranking_id if cursor else request.ranking_id or event_id
        return surface, Page(unit, ranking_id, lane, request.k, hidden, cursor, stale,
                             "log_failing" if self._log.error is not None else None)

    # ------------------------------------------------------------------------------------------------------ record
    def _impression(
        self, request: RecommendationRequest, surface: Surface, page: Page, given: Sequence[Given], merged: Merged,
        event_id: str, now: datetime, started: float,
    ) -> Impression:
        experiment = surface.experiment
        models = []
        for role, guard, one in zip(surface.roles, surface.guards, given, strict=True):
            model, answer = guard.plan, one.answer
            models.append(ModelAnswer(
                role, model.name, model.version, answer.status, answer.latency_ms, answer.n_items, one.items,
                one.items.scores, model.embedding_version, model.cost_per_request,
                answer.n_items > len(answer.items), one.reason, answer.generated))
        return Impression(
            event_id=event_id, request_id=self._signer.sign(event_id), ranking_id=page.ranking_id, time=now,
            user_id=page.unit, surface=surface.name, mode=merged.mode, lane=page.lane, plan=surface.plan_hash,
            slots=merged.slots, models=models, page=page.cursor.page + 1 if page.cursor else 1, offset=merged.offset,
            k=request.k, session_id=request.session_id, experiment=experiment.name if experiment else None,
            stage=experiment.stage if experiment else None, share=experiment.share if experiment else None,
            policy=experiment.policy if experiment else None, salt=experiment.salt if experiment else None,
            coins=merged.coins, context=request.context, reason=merged.reason,
            latency_ms=(self._monotonic() - started) * 1000)

    def _post(self, record: Record) -> bool:
        """Bounded delay: queue the impression; False where the log is known to refuse (it keeps and retries)."""
        try:
            self._log.post((record,), max_delay_s=self._max_delay_s)
        except StoreError:
            return False
        return self._log.error is None

    async def _commit(self, record: Record, until: float) -> bool:
        """Durable: wait for the sync, but not past the deadline; what the disk refused is queued to be tried again."""
        try:
            done = self._log.append_async((record,))
        except StoreError:
            return False
        if not done.done():
            loop = asyncio.get_running_loop()
            timer = loop.call_later(max(until - self._monotonic(), 0.0), _wake, done)
            try:
                await done
            except (StoreError, _LateError):
                pass
            finally:
                timer.cancel()
        failure = done.exception()
        if isinstance(failure, StoreError):
            self._post(record)
        return failure is None

    # ------------------------------------------------------------------------------------------------------ answer
    def _answer(
        self, request: RecommendationRequest, surface: Surface, page: Page, given: Sequence[Given], merged: Merged,
        impression: Impression, logged: bool,
    ) -> RecommendationAnswer:
        cursor = None
        if merged.more and merged.slots:
            before = page.cursor
            cursor = paging.write(paging.Cursor(
                page.ranking_id, surface.name, surface.plan_hash, paging.unit_digest(page.unit), page.lane,
                merged.digest, merged.mode == "interleave", impression.page, merged.offset + merged.organic,
                merged.slots[-1].position,
                [*(before.shown if before else ()), *[slot.item_id for slot in merged.slots]]), self._signer)
        return RecommendationAnswer(
            request_id=impression.request_id, ranking_id=page.ranking_id, mode=merged.mode, cursor=cursor,
            logged=logged, items=texts.written(_shown(merged, surface), merged, given, surface.roles),
            text=texts.of_page(merged, given, surface.roles),
            debug=_debug(surface, impression) if request.debug else UNSET)


def _shown(merged: Merged, surface: Surface) -> list[ShownItem]:
    if not surface.pinned:
        return [ShownItem(slot.item_id, slot.position) for slot in merged.slots]
    return [ShownItem(slot.item_id, slot.position, slot.kind == "pinned" and surface.pinned[slot.position].sponsored)
            for slot in merged.slots]


def _debug(surface: Surface, impression: Impression) -> Debug:
    return Debug(lane=impression.lane, plan=impression.plan, slots=impression.slots, experiment=impression.experiment,
                 stage=impression.stage, share=impression.share, reason=impression.reason,
                 models={answer.role: answer.status for answer in impression.models})


class _LateError(Exception):
    """The sync did not come before the deadline."""


def _wake(done: asyncio.Future[list[bool]]) -> None:
    if not done.done():
        done.set_exception(_LateError())
