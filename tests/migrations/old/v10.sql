-- v10: the books end at M00004.
CREATE TABLE knex_migrations (id integer not null primary key autoincrement, name varchar(255), batch integer, migration_time datetime);
INSERT INTO knex_migrations (name, batch, migration_time) VALUES
    ('20171129013519_legacy.js', 1, 1), ('20171129064057_multicontainer.js', 1, 1), ('20171214172530_image_docker_id.js', 1, 1),
    ('20180516164000-endpoint-specific-apps.js', 2, 2), ('20181907164000-endpoint-specific-logschannel.js', 3, 3),
    ('20190619152500-engine-snapshot.js', 4, 4), ('M00000.js', 5, 5), ('M00001.js', 5, 5), ('M00002.js', 5, 5), ('M00003.js', 5, 5),
    ('M00004.js', 6, 6);
CREATE TABLE knex_migrations_lock ("index" integer not null primary key autoincrement, is_locked integer);
INSERT INTO knex_migrations_lock (is_locked) VALUES (0);
CREATE TABLE config (key varchar(255), value varchar(255), primary key (key));
INSERT INTO config VALUES ('name', 'kiosk'), ('localMode', 'false'), ('apiSecret', 'old-secret'), ('currentCommit', 'abc'), ('targetStateSet', 'true');
CREATE TABLE deviceConfig (targetValues json);
INSERT INTO deviceConfig VALUES ('{"SUPERVISOR_DELTA":"1"}');
CREATE TABLE app (id integer not null primary key autoincrement, name varchar(255), releaseId integer, "commit" varchar(255),
    appId integer, services json, networks json, volumes json, source varchar(255));
INSERT INTO app (name, releaseId, "commit", appId, services, networks, volumes, source) VALUES
    ('shop', 5, 'abc', 7, '[{"serviceName":"web","serviceId":3,"imageId":4,"image":"web:latest"}]', '{}', '{}', 'https://api'),
    ('mine', 1, 'r1', 1, '[{"serviceName":"dev","serviceId":1,"imageId":1,"image":"dev:latest"}]', '{}', '{}', 'local'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'https://api');
CREATE TABLE image (id integer not null primary key autoincrement, name varchar(255), appId integer, serviceId integer,
    serviceName varchar(255), imageId integer, releaseId integer, dependent boolean, dockerImageId varchar(255));
INSERT INTO image (name, appId, serviceId, serviceName, imageId, releaseId, dependent, dockerImageId)
    VALUES ('web:latest', 7, 3, 'web', 4, 5, 0, 'sha256:1');
CREATE TABLE logsChannelSecret (backend varchar(255), secret varchar(255));
INSERT INTO logsChannelSecret VALUES ('https://api', 'channel');
CREATE TABLE engineSnapshot (snapshot varchar(255), timestamp varchar(255));
CREATE TABLE containerLogs (containerId varchar(255), lastSentTimestamp integer);
INSERT INTO containerLogs VALUES ('c0ffee', 1);
CREATE TABLE dependentApp (id integer not null primary key autoincrement, appId integer);
CREATE TABLE dependentAppTarget (id integer not null primary key autoincrement, appId integer);
CREATE TABLE dependentDevice (id integer not null primary key autoincrement, uuid varchar(255));
CREATE TABLE dependentDeviceTarget (id integer not null primary key autoincrement, uuid varchar(255));
