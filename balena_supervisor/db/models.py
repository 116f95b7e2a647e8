"""The tables as they are after all migrations (spec target-state 8.3).

The classes know no database: each query is bound to one by its store, so that several may be open in one process.
JSON columns hold text, booleans 0 or 1.
"""

from __future__ import annotations

import peewee


class Config(peewee.Model):
    """Values that are not in config.json, as text."""

    key = peewee.CharField(primary_key=True)
    value = peewee.CharField(null=True)

    class Meta:
        table_name = "config"


class DeviceConfig(peewee.Model):
    """Exactly one row: the target configuration, names without prefix."""

    target_values = peewee.TextField(column_name="targetValues", null=True)

    class Meta:
        table_name = "deviceConfig"
        primary_key = False


class App(peewee.Model):
    """A target app with its release; ``uuid`` is unique over all sources."""

    id = peewee.AutoField()
    name = peewee.CharField(null=True)
    release_id = peewee.IntegerField(column_name="releaseId", null=True)
    commit = peewee.CharField(null=True)
    app_id = peewee.IntegerField(column_name="appId", null=True)
    services = peewee.TextField(null=True)
    networks = peewee.TextField(null=True)
    volumes = peewee.TextField(null=True)
    source = peewee.CharField(null=True)
    uuid = peewee.CharField(null=True, unique=True)
    app_class = peewee.CharField(column_name="class", null=True, default="fleet")
    is_host = peewee.BooleanField(column_name="isHost", null=True, default=False)
    rejected = peewee.BooleanField(null=True, default=False)

    class Meta:
        table_name = "app"


class Image(peewee.Model):
    """An image that a service of a release uses and the engine had."""

    id = peewee.AutoField()
    name = peewee.CharField(null=True)
    app_id = peewee.IntegerField(column_name="appId", null=True)
    service_id = peewee.IntegerField(column_name="serviceId", null=True)
    service_name = peewee.CharField(column_name="serviceName", null=True)
    image_id = peewee.IntegerField(column_name="imageId", null=True)
    release_id = peewee.IntegerField(column_name="releaseId", null=True)
    docker_image_id = peewee.CharField(column_name="dockerImageId", null=True)
    app_uuid = peewee.CharField(column_name="appUuid", null=True)
    commit = peewee.CharField(null=True)

    class Meta:
        table_name = "image"


class ApiSecret(peewee.Model):
    """A key of the local API; the global one has app id 0 and no service name."""

    id = peewee.AutoField()
    app_id = peewee.IntegerField(column_name="appId", null=True)
    key = peewee.CharField(null=True)
    scopes = peewee.CharField(null=True)
    service_name = peewee.CharField(column_name="serviceName", null=True)

    class Meta:
        table_name = "apiSecret"


class CurrentCommit(peewee.Model):
    """The release on which an app settled last."""

    id = peewee.AutoField()
    app_id = peewee.IntegerField(column_name="appId", unique=True)
    commit = peewee.CharField()

    class Meta:
        table_name = "currentCommit"


class EngineSnapshot(peewee.Model):
    """What the engine had when local mode began; one row, or none."""

    snapshot = peewee.CharField(null=True)
    timestamp = peewee.CharField(null=True)

    class Meta:
        table_name = "engineSnapshot"
        primary_key = False


#: the columns of the tables that are used
COLUMNS: dict[str, frozenset[str]] = {
    model._meta.table_name: frozenset(field.column_name for field in model._meta.sorted_fields)  # noqa: SLF001  # how peewee gives it
    for model in (Config, DeviceConfig, App, Image, ApiSecret, CurrentCommit, EngineSnapshot)
}
