"""Client: what a shop's own process uses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, cast

import msgspec

from incumbent.client.http import Http
from incumbent.client.sender import Rejected, Sender, SenderLog, Sent
from incumbent.clock import Clock, SystemClock
from incumbent.errors import ConfigError, DataError, IncumbentError
from incumbent.events import codec
from incumbent.events.ids import EventIds, Signer
from incumbent.events.plan import ModelPlan, ServingPlan
from incumbent.events.schema import Action, Feedback
from incumbent.loop.requests import RecommendationAnswer, RecommendationRequest
from incumbent.loop.serve import Gateway
from incumbent.models.guard import Guarded
from incumbent.models.recommender import Ask, ModelFailure, Scored
from incumbent.stores.store import Log, Record

Ranking = Sequence[str] | Sequence[tuple[str, float | None]]
_given: ContextVar[dict[str, Ranking | None]] = ContextVar("given")  # by model name
_answer = msgspec.json.Decoder(RecommendationAnswer)
_plan = msgspec.json.Decoder(ServingPlan)


class Client:
    """Ask a service for recommendations, draft them in your own process, and send events.

    `recommend` asks the gateway. `draft` merges lists that you already have, by the service's current plan, in
    microseconds and without a round trip: the same lanes, coins, pins and impression as the gateway would make; it
    needs the service's signing secret, since an impression is believed only in a batch that is signed with it, and
    `hash_users` where the service keeps users as hashes.
    `track` queues an event and returns; `send` returns when the service has it on disk. Safe to share between threads.
    """

    def __init__(self, url: str, *, key: str | None = None, secret: str | bytes | None = None,
                 hash_users: bool = False, timeout_s: float = 5.0, capacity: int = 10_000, batch: int = 500,
                 every_s: float = 0.5, plan_s: float = 1.0, clock: Clock | None = None,
                 on_rejected: Callable[[Rejected], None] | None = None) -> None:
        self._http = Http(url, key, timeout_s)
        self._clock = clock or SystemClock()
        self._ids = EventIds(self._clock)
        secret = secret.encode() if isinstance(secret, str) else secret
        signer = None if secret is None else Signer(secret)
        self._sender = Sender(self._http, capacity=capacity, batch=batch, every_s=every_s, on_rejected=on_rejected,
                              sign=None if signer is None else signer.sign_batch)
        self._lock = threading.Lock()
        self._plan_s, self._closed = plan_s, threading.Event()
        self._follower: threading.Thread | None = None
        self._newer: ServingPlan | None = None
        self._gateway: Gateway | None = None
        if signer is not None:
            self._gateway = Gateway(cast(Log, SenderLog(self._sender)), clock=self._clock, ids=self._ids,
                                    signer=signer, user_secret=secret if hash_users else None)

    # ----------------------------------------------------------------------------------------------------- ask, draft
    def recommend(self, surface: str, user_id: str, k: int, **request: Any) -> RecommendationAnswer:
        """One page from the gateway; further fields as in `RecommendationRequest` (context, exclude, cursor ...)."""
        asked = _request(surface, user_id, k, request)
        return _answer.decode(self._http.post("/v1/recommendations", msgspec.json.encode(asked)))

    def draft(self, surface: str, user_id: str, k: int, *, champion: Ranking | None, candidate: Ranking | None = None,
              **request: Any) -> RecommendationAnswer:
        """One page merged here from two lists, best first, ids or (id, score); None stands for a model that failed.

        The impression goes with the next batch of events. Raises `UnavailableError` before the first plan has come;
        afterwards a service that is away only delays the plan.
        """
        if self._gateway is None:
            raise ConfigError("drafting needs the signing secret", hint="Client(url, secret=...)")
        asked = _request(surface, user_id, k, request)
        if self._follower is None:
            self._begin_to_follow(self._gateway)
        with self._lock:
            if self._newer is not None:
                plan, self._newer = self._newer, None
                self._gateway.use(plan, {name: _guard(model, self._clock) for name, model in plan.models.items()})
            token = _given.set(_by_model(self._gateway, surface, champion, candidate))
            try:
                answer: RecommendationAnswer = _now(self._gateway.recommend(asked))
                return answer
            finally:
                _given.reset(token)

    def _begin_to_follow(self, gateway: Gateway) -> None:
        """Fetch the first plan now, and look for newer ones on a thread of its own: no draft ever waits for one."""
        with self._lock:
            if self._follower is None:
                self._newer = self._fetch()
                self._follower = threading.Thread(target=self._follow, args=(gateway,), name="incumbent-plan",
                                                  daemon=True)
                self._follower.start()

    def _follow(self, gateway: Gateway) -> None:
        while not self._closed.wait(self._plan_s):
            try:
                plan = self._fetch()
            except IncumbentError:
                continue  # the plan that is there goes on
            if gateway.plan is None or plan.hash != gateway.plan.hash:
                self._newer = plan

    def _fetch(self) -> ServingPlan:
        return _plan.decode(self._http.get("/v1/plan"))

    # --------------------------------------------------------------------------------------------------------- events
    def track(self, action: Action, user_id: str, item_id: str, **fields: Any) -> str:
        """Queue one feedback event (request_id, value_minor, currency, quantity ...); its event id.

        Raises `DataError` for a field that no feedback has, `UnavailableError` where the buffer is full.
        """
        record = self._feedback(action, user_id, item_id, fields)
        self._sender.put([record])
        return record.event_id

    def send(self, action: Action, user_id: str, item_id: str, **fields: Any) -> str:
        """Send one feedback event and return when it is on the service's disk; `DataError` where it is refused."""
        record = self._feedback(action, user_id, item_id, fields)
        rejected = self._sender.deliver([record])
        if rejected:
            raise DataError("the event was refused", hint=rejected[0].reason)
        return record.event_id

    def _feedback(self, action: Action, user_id: str, item_id: str, fields: dict[str, Any]) -> Record:
        tree = {"type": "feedback", "event_id": self._ids.new(), "time": self._clock.now(), "action": action,
                "user_id": user_id, "item_id": item_id, **fields}
        event = codec.decode_incoming(msgspec.json.encode(tree))
        assert isinstance(event, Feedback)
        return Record(event.event_id, "feedback", codec.encode(event))

    @property
    def pending(self) -> int:
        """Events not yet acknowledged by the service."""
        return self._sender.pending

    @property
    def sent(self) -> Sent:
        """What became of the events so far."""
        return self._sender.sent

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Send what is queued; True where the service has all of it."""
        return self._sender.flush(timeout_s)

    def close(self, timeout_s: float = 10.0) -> bool:
        """Flush and stop; True where nothing was left behind."""
        self._closed.set()
        done = self._sender.close(timeout_s)
        self._http.close()
        return done

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Given:
    """A model whose list the caller hands over."""

    at_once = True

    def __init__(self, name: str) -> None:
        self._name = name

    async def recommend(self, request: Ask, k: int) -> Scored:
        """The caller's own list."""
        ranking = _given.get().get(self._name)
        if ranking is None:
            raise ModelFailure("the caller has no list of it")
        return [(entry, None) if isinstance(entry, str) else entry for entry in ranking[:k]]

    async def close(self) -> None:
        """Nothing to close."""


def _guard(model: ModelPlan, clock: Clock) -> Guarded:
    """A guard that only validates: the list is there already."""
    patient = msgspec.structs.replace(model, deadline_ms=60_000, concurrency=2**31, breaker_calls=2**31)
    return Guarded(patient, _Given(model.name), clock)


def _by_model(
    gateway: Gateway, surface: str, champion: Ranking | None, candidate: Ranking | None,
) -> dict[str, Ranking | None]:
    """The caller's lists by the names of the models that the surface asks."""
    plan = gateway.plan.surfaces.get(surface) if gateway.plan else None
    if plan is None:
        return {}
    return {plan.champion: champion} | ({plan.experiment.candidate: candidate} if plan.experiment else {})


def _request(surface: str, user_id: str, k: int, more: dict[str, Any]) -> RecommendationRequest:
    try:
        return msgspec.convert({"surface": surface, "user_id": user_id, "k": k, **more}, RecommendationRequest)
    except msgspec.ValidationError as error:
        raise DataError(str(error)) from None


def _now(coroutine: Any) -> Any:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError("a draft suspended")
