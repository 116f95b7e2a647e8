-- Right after the change to several containers: the books end at the second migration.
CREATE TABLE knex_migrations (id integer not null primary key autoincrement, name varchar(255), batch integer, migration_time datetime);
INSERT INTO knex_migrations (name, batch, migration_time) VALUES
    ('20171129013519_legacy.js', 1, 1512000000000), ('20171129064057_multicontainer.js', 1, 1512000000001);
CREATE TABLE knex_migrations_lock (is_locked integer);
INSERT INTO knex_migrations_lock VALUES (1);
CREATE TABLE config (key varchar(255), value varchar(255), primary key (key));
INSERT INTO config VALUES ('name', 'kiosk'), ('apiSecret', 'old-secret'), ('localMode', 'on'), ('legacyAppsPresent', 'true'),
    ('logsChannelSecret', 'channel'), ('currentCommit', 'abc'), ('targetStateSet', 'true');
CREATE TABLE deviceConfig (targetValues json);
INSERT INTO deviceConfig VALUES ('{"RESIN_SUPERVISOR_DELTA":"0","BALENA_SUPERVISOR_DELTA":"1","SUPERVISOR_DELTA":"2","RESIN_SUPERVISOR_DELTA_APPLY_TIMEOUT":""}');
CREATE TABLE app (id integer not null primary key autoincrement, name varchar(255), releaseId integer, "commit" varchar(255),
    appId integer, services json, networks json, volumes json);
INSERT INTO app (name, releaseId, "commit", appId, services, networks, volumes) VALUES
    ('shop', 1, 'abc', 7, '[{"serviceName":"main","serviceId":1,"appId":7,"releaseId":1,"imageId":1,"commit":"abc","image":"shop:latest","running":true,"environment":{"A":"b"},"labels":{"io.resin.legacy-container":"1"},"restart":"always","privileged":true,"networkMode":"host","volumes":["resin-data:/data"]}]', '{}', '{"resin-data":{}}');
CREATE TABLE image (id integer not null primary key autoincrement, name varchar(255), appId integer, serviceId integer,
    serviceName varchar(255), imageId integer, releaseId integer, dependent boolean);
INSERT INTO image (name, appId, serviceId, serviceName, imageId, releaseId, dependent) VALUES ('shop:latest', 7, 1, 'main', 1, 1, 0);
CREATE TABLE dependentApp (id integer not null primary key autoincrement, appId integer);
CREATE TABLE dependentAppTarget (id integer not null primary key autoincrement, appId integer);
CREATE TABLE dependentDevice (id integer not null primary key autoincrement, uuid varchar(255));
CREATE TABLE dependentDeviceTarget (id integer not null primary key autoincrement, uuid varchar(255));
