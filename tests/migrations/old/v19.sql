-- v19, as the reference leaves it.
CREATE TABLE knex_migrations (id integer not null primary key autoincrement, name varchar(255), batch integer, migration_time datetime);
INSERT INTO knex_migrations (name, batch, migration_time) VALUES
    ('20171129013519_legacy.js', 1, 1), ('20171129064057_multicontainer.js', 1, 1), ('20171214172530_image_docker_id.js', 1, 1),
    ('20180516164000-endpoint-specific-apps.js', 1, 1), ('20181907164000-endpoint-specific-logschannel.js', 1, 1),
    ('20190619152500-engine-snapshot.js', 1, 1), ('M00000.js', 1, 1), ('M00001.js', 1, 1), ('M00002.js', 1, 1), ('M00003.js', 1, 1),
    ('M00004.js', 1, 1), ('M00005.js', 1, 1), ('M00006.js', 1, 1), ('M00007.js', 1, 1), ('M00008.js', 1, 1), ('M00009.js', 1, 1),
    ('M00010.js', 1, 1), ('M00011.js', 1, 1), ('M00012.js', 1, 1);
CREATE TABLE knex_migrations_lock ("index" integer not null primary key autoincrement, is_locked integer);
INSERT INTO knex_migrations_lock (is_locked) VALUES (0);
CREATE TABLE config (key varchar(255), value varchar(255), primary key (key));
INSERT INTO config VALUES ('name', 'kiosk'), ('localMode', 'false'), ('targetStateSet', 'true');
CREATE TABLE deviceConfig (targetValues json);
INSERT INTO deviceConfig VALUES ('{"SUPERVISOR_DELTA":"1"}');
CREATE TABLE app (id integer not null primary key autoincrement, name varchar(255), releaseId integer, "commit" varchar(255),
    appId integer, services json, networks json, volumes json, source varchar(255), uuid varchar(255), class varchar(255) default 'fleet',
    isHost boolean default '0', rejected boolean default '0');
CREATE UNIQUE INDEX app_uuid_unique on app (uuid);
INSERT INTO app (name, releaseId, "commit", appId, services, networks, volumes, source, uuid) VALUES
    ('shop', 5, 'abc', 7, '[{"image":"web:latest","environment":{},"labels":{},"running":true,"composition":{"command":["sleep","9"]},"appId":7,"appUuid":"beef","releaseId":5,"commit":"abc","imageId":4,"serviceId":3,"serviceName":"web"}]', '{}', '{}', 'https://api', 'beef');
CREATE TABLE image (id integer not null primary key autoincrement, name varchar(255), appId integer, serviceId integer,
    serviceName varchar(255), imageId integer, releaseId integer, dockerImageId varchar(255), appUuid varchar(255), "commit" varchar(255));
INSERT INTO image (name, appId, serviceId, serviceName, imageId, releaseId, dockerImageId, appUuid, "commit")
    VALUES ('web:latest', 7, 3, 'web', 4, 5, 'sha256:1', 'beef', 'abc');
CREATE TABLE logsChannelSecret (backend varchar(255), secret varchar(255));
INSERT INTO logsChannelSecret VALUES ('https://api', NULL);
CREATE TABLE engineSnapshot (snapshot varchar(255), timestamp varchar(255));
CREATE TABLE apiSecret (id integer not null primary key autoincrement, appId integer, key varchar(255), scopes varchar(255), serviceName varchar(255));
INSERT INTO apiSecret (appId, key, scopes, serviceName) VALUES (0, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '[{"type":"global"}]', NULL);
CREATE TABLE currentCommit (id integer primary key, appId integer not null, "commit" varchar(255) not null);
CREATE UNIQUE INDEX currentcommit_appid_unique on currentCommit (appId);
INSERT INTO currentCommit (appId, "commit") VALUES (7, 'abc');
