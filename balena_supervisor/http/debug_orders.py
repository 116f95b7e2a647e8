"""Orders to the planner, for people who develop the supervisor. Apps and tools use the routes of the API for them."""

from __future__ import annotations

from typing import Any

import falcon
import msgspec

from balena_supervisor.errors import NotFound, RemoteError
from balena_supervisor.http.answer import Refused, failed, json_answer
from balena_supervisor.http.api import Api
from balena_supervisor.http.snapshots import Picture
from balena_supervisor.messages import ORDER_TIMEOUT_S, AppOrder, CancelOrder, DeviceOrder, Order, ServiceOrder


class Orders:
    """``GET`` lists the last orders. ``POST`` takes an object with ``verb``, ``appId``, ``serviceName`` and ``force``
    as far as they are needed, and answers when the order has ended."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        req.context.caller.need_global()
        picture: Picture = req.context.picture
        json_answer({"orders": picture.need_state().actions}).send(resp)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        req.context.caller.need_global()
        try:
            self._api.ask("planner", _order(req.context.body), timeout_s=ORDER_TIMEOUT_S)
        except RemoteError as error:
            if error.code == NotFound.code:
                raise Refused(failed(404, error.message)) from error
            raise
        json_answer({"status": "success", "message": "OK"}).send(resp)


class OneOrder:
    def __init__(self, api: Api) -> None:
        self._api = api

    def on_delete(self, req: falcon.Request, resp: falcon.Response, number: int) -> None:
        """Cancel it; nothing happens when it has ended."""
        req.context.caller.need_global()
        self._api.ask("planner", CancelOrder(number=number))
        json_answer({"status": "success", "message": "OK"}).send(resp)


def _order(body: Any) -> Order:
    """Raises ``Refused`` that names the field."""
    given = body if isinstance(body, dict) else {}
    values = {
        "verb": given.get("verb"),
        "force": given.get("force", False),
        "app_id": given.get("appId"),
        "service_name": given.get("serviceName"),
    }
    kind: type[Order] = DeviceOrder if given.get("appId") is None else AppOrder
    if given.get("serviceName") is not None:
        kind = ServiceOrder
    fields = {name: value for name, value in values.items() if name in kind.__struct_fields__}
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise Refused(failed(400, f"cannot take the order: {error}")) from error
