-- A device of before 7.0: one container for each app, no books.
CREATE TABLE config (key text PRIMARY KEY, value text);
INSERT INTO config VALUES ('name', 'kiosk'), ('apiSecret', 'old-secret'), ('logsChannelSecret', 'channel');
CREATE TABLE deviceConfig ("values" json, targetValues json);
INSERT INTO deviceConfig VALUES (
    '{"RESIN_SUPERVISOR_POLL_INTERVAL":"120000","RESIN_SUPERVISOR_DELTA":1,"RESIN_SUPERVISOR_DELTA_REQUEST_TIMEOUT":"5","RESIN_SUPERVISOR_DELTA_RETRY_INTERVAL":"7","RESIN_HOST_CONFIG_gpu_mem":"16"}',
    '{"RESIN_SUPERVISOR_POLL_INTERVAL":"600000"}');
CREATE TABLE app (id integer PRIMARY KEY AUTOINCREMENT, name varchar(255), containerId varchar(255), "commit" varchar(255),
    imageId varchar(255), appId varchar(255), privileged boolean, env json, config json, markedForDeletion boolean);
INSERT INTO app (name, containerId, "commit", imageId, appId, env, config, markedForDeletion) VALUES
    ('shop', 'c0ffee', 'abc', 'registry.io/shop/abc', '7', '{"A":"b","N":1,"RESIN_X":"y"}',
     '{"RESIN_SUPERVISOR_UPDATE_STRATEGY":"kill-then-download","RESIN_APP_RESTART_POLICY":"no"}', 0),
    ('bare', NULL, NULL, 'bare', '8', NULL, NULL, NULL),
    ('torn', NULL, 'd', 'torn@sha256:00', '9', '{', '[]', 0),
    ('torn', NULL, 'd', 'torn', '9', '{', '[]', 0),
    ('none', NULL, 'd', NULL, '10', '{}', '{}', 0),
    ('nobody', NULL, 'd', 'x', 'seven', '{}', '{}', 0),
    ('gone', 'c0ffef', 'd', 'gone', '11', '{}', '{}', 1);
CREATE TABLE image (id integer PRIMARY KEY AUTOINCREMENT, repoTag varchar(255));
INSERT INTO image (repoTag) VALUES ('registry.io/shop/abc');
CREATE TABLE container (id integer PRIMARY KEY, containerId varchar(255));
CREATE TABLE dependentApp (id integer PRIMARY KEY AUTOINCREMENT, appId varchar(255), parentApp varchar(255), name varchar(255),
    "commit" varchar(255), imageId varchar(255), config json, environment json);
INSERT INTO dependentApp (appId, name) VALUES ('20', 'leaf');
CREATE TABLE dependentDevice (id integer PRIMARY KEY AUTOINCREMENT, uuid varchar(255), appId varchar(255), device_type varchar(255),
    config json, environment json, targetConfig json);
INSERT INTO dependentDevice (uuid, appId) VALUES ('d1', '20');
