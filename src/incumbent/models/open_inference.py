"""A model behind the Open Inference Protocol V2 (KServe, Seldon, Triton, MLServer) over REST.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md.
"""

from __future__ import annotations

from typing import Any

import msgspec

from incumbent.events.plan import ModelPlan
from incumbent.events.schema import Generated
from incumbent.models.generated import Told, generated_of
from incumbent.models.http import JsonEndpoint
from incumbent.models.recommender import Ask, ModelFailure, Scored, pairs


class OpenInferenceModel:
    """POSTs to ``TARGET/v2/models/MODEL/infer`` one request of the tensors user_id, k, surface, context and exclude.

    With the option ``user_control = true`` also exclude_categories and ignore_events: servers refuse inputs that they
    do not know. Options: ``model`` (the served name; default: the model's own name), ``model_version``, ``items``,
    ``scores`` and ``generated`` (names of the output tensors, default ``item_ids``, ``scores`` and ``generated``; the
    last two may be absent). Item ids are BYTES (or INT64, which become texts) of shape [n] or [1, n]; `context` goes as
    one BYTES tensor of JSON, and `generated` comes as one.
    """

    def __init__(self, plan: ModelPlan) -> None:
        served = plan.options.get("model", plan.name)
        version = plan.options.get("model_version")
        path = f"/v2/models/{served}" + (f"/versions/{version}" if version else "") + "/infer"
        self._endpoint = JsonEndpoint(plan, plan.target.rstrip("/") + path)
        self._generated = str(plan.options.get("generated", "generated"))
        self._control = plan.options.get("user_control") is True
        self._items = str(plan.options.get("items", "item_ids"))
        self._scores = str(plan.options.get("scores", "scores"))

    async def recommend(self, request: Ask, k: int) -> Scored | Told:
        """The served model's list."""
        body = await self._endpoint.post({"id": request.request_id, "inputs": inputs(
            request, k, user_control=self._control)})
        tensors = {t.get("name"): t for t in _outputs(body)}
        if self._items not in tensors:
            raise ModelFailure(f"no output {self._items!r} among {sorted(map(str, tensors))}")
        items = [i if isinstance(i, str) else str(i) if type(i) is int else i for i in _flat(tensors[self._items])]
        scored = pairs(items, _flat(tensors[self._scores]) if self._scores in tensors else None)
        return scored if self._generated not in tensors else Told(scored, _told(tensors[self._generated]))

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()


def _told(tensor: dict[str, Any]) -> Generated:
    """The trace in an output tensor: one BYTES of JSON."""
    data = _flat(tensor)
    try:
        return generated_of(msgspec.json.decode(data[0]))
    except (msgspec.DecodeError, IndexError, TypeError) as error:
        raise ModelFailure(f"output {tensor.get('name')!r} is not one text of JSON: {error}") from None


def inputs(request: Ask, k: int, *, user_control: bool = False) -> list[dict[str, Any]]:
    """The request as V2 input tensors.

    >>> [(t["name"], t["datatype"], t["shape"]) for t in inputs(Ask("u", "home", 5), 5)][:2]
    [('user_id', 'BYTES', [1]), ('k', 'INT32', [1])]
    """
    return [
        _tensor("user_id", "BYTES", [request.user_id]),
        _tensor("k", "INT32", [k]),
        _tensor("surface", "BYTES", [request.surface]),
        _tensor("context", "BYTES", [msgspec.json.encode(request.context).decode()]),
        _tensor("exclude", "BYTES", list(request.exclude)),
        *([_tensor("exclude_categories", "BYTES", list(request.exclude_categories)),
           _tensor("ignore_events", "BYTES", list(request.ignore_events))] if user_control else []),
    ]


def _tensor(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}


def _outputs(body: Any) -> list[dict[str, Any]]:
    outputs = body.get("outputs") if isinstance(body, dict) else None
    if not isinstance(outputs, list) or not all(isinstance(t, dict) for t in outputs):
        raise ModelFailure("no outputs in the answer")
    return outputs


def _flat(tensor: dict[str, Any]) -> list[Any]:
    """The data of a tensor of one request: [n] as it is, [[...]] of shape [1, n] unwrapped."""
    data = tensor.get("data")
    if isinstance(data, list) and len(data) == 1 and isinstance(data[0], list):
        data = data[0]
    if not isinstance(data, list):
        raise ModelFailure(f"output {tensor.get('name')!r} has no data")
    return data
