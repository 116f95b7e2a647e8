-- v12.11: the books end at M00008; cloud and local apps, images, keys.
CREATE TABLE knex_migrations (id integer not null primary key autoincrement, name varchar(255), batch integer, migration_time datetime);
INSERT INTO knex_migrations (name, batch, migration_time) VALUES
    ('20171129013519_legacy.js', 1, 1), ('20171129064057_multicontainer.js', 1, 1), ('20171214172530_image_docker_id.js', 1, 1),
    ('20180516164000-endpoint-specific-apps.js', 1, 1), ('20181907164000-endpoint-specific-logschannel.js', 1, 1),
    ('20190619152500-engine-snapshot.js', 1, 1), ('M00000.js', 1, 1), ('M00001.js', 1, 1), ('M00002.js', 1, 1), ('M00003.js', 1, 1),
    ('M00004.js', 1, 1), ('M00005.js', 1, 1), ('M00006.js', 1, 1), ('M00007.js', 1, 1), ('M00008.js', 2, 2);
CREATE TABLE knex_migrations_lock ("index" integer not null primary key autoincrement, is_locked integer);
INSERT INTO knex_migrations_lock (is_locked) VALUES (0);
CREATE TABLE config (key varchar(255), value varchar(255), primary key (key));
INSERT INTO config VALUES ('name', 'kiosk'), ('localMode', 'true'), ('targetStateSet', 'true'), ('initialConfigReported', 'https://api');
CREATE TABLE deviceConfig (targetValues json);
INSERT INTO deviceConfig VALUES ('{"SUPERVISOR_DELTA":"1"}');
CREATE TABLE app (id integer not null primary key autoincrement, name varchar(255), releaseId integer, "commit" varchar(255),
    appId integer, services json, networks json, volumes json, source varchar(255), uuid varchar(255), class varchar(255) default 'fleet',
    isHost boolean default '0');
CREATE UNIQUE INDEX app_uuid_unique on app (uuid);
INSERT INTO app (name, releaseId, "commit", appId, services, networks, volumes, source, uuid) VALUES
    ('shop', 5, 'abc', 7, '[{"serviceName":"web","serviceId":3,"image":"web:latest"}]', '{}', '{}', 'https://api', 'beef'),
    ('mine', 1, 'r1', 1, '[{"serviceName":"dev","image":"dev:latest","note":"a\ud800b"}]', '{}', '{}', 'local', '1'),
    ('mine', 1, 'r2', 1, '[{"serviceName":"dev2","image":"dev:latest"}]', '{}', '{}', 'local', '2'),
    ('other', 1, 'r1', 2, NULL, NULL, NULL, 'local', NULL),
    ('torn', 1, 'r1', 3, '[{"serviceName":', '{}', '{}', 'local', '3'),
    ('odd', 1, 'r1', 4, '[5]', '{}', '{}', 'local', NULL),
    ('nobody', 1, 'r1', NULL, '[]', '{}', '{}', 'local', NULL);
CREATE TABLE image (id integer not null primary key autoincrement, name varchar(255), appId integer, serviceId integer,
    serviceName varchar(255), imageId integer, releaseId integer, dependent boolean, dockerImageId varchar(255), appUuid varchar(255), "commit" varchar(255));
INSERT INTO image (name, appId) VALUES ('web:latest', 7);
CREATE TABLE logsChannelSecret (backend varchar(255), secret varchar(255));
INSERT INTO logsChannelSecret VALUES ('https://api', NULL);
CREATE TABLE engineSnapshot (snapshot varchar(255), timestamp varchar(255));
INSERT INTO engineSnapshot VALUES ('{"containers":["c0ffee"],"images":[],"volumes":[],"networks":[]}', '2026-01-01T00:00:00Z');
CREATE TABLE containerLogs (containerId varchar(255), lastSentTimestamp integer);
CREATE TABLE apiSecret (id integer not null primary key autoincrement, appId integer, key varchar(255), scopes varchar(255), serviceName varchar(255));
INSERT INTO apiSecret (appId, key, scopes, serviceName) VALUES (0, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '[{"type":"global"}]', NULL),
    (7, 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', '[{"type":"app","appId":7}]', 'web');
CREATE TABLE currentCommit (id integer primary key, appId integer not null, "commit" varchar(255) not null);
CREATE UNIQUE INDEX currentcommit_appid_unique on currentCommit (appId);
INSERT INTO currentCommit (appId, "commit") VALUES (7, 'abc');
CREATE TABLE dependentApp (id integer not null primary key autoincrement, appId integer);
CREATE TABLE dependentAppTarget (id integer not null primary key autoincrement, appId integer);
CREATE TABLE dependentDevice (id integer not null primary key autoincrement, uuid varchar(255));
CREATE TABLE dependentDeviceTarget (id integer not null primary key autoincrement, uuid varchar(255));
