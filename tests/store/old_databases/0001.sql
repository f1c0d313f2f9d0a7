BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE attempts (
	attempt_id TEXT NOT NULL, 
	request_id TEXT NOT NULL, 
	key_id TEXT NOT NULL, 
	route TEXT NOT NULL, 
	model TEXT NOT NULL, 
	deployment TEXT NOT NULL, 
	stage INTEGER NOT NULL, 
	streamed INTEGER NOT NULL, 
	started_at_us INTEGER NOT NULL, 
	first_event_us INTEGER, 
	duration_us INTEGER NOT NULL, 
	outcome TEXT NOT NULL, 
	finish_reason TEXT, 
	error_code TEXT, 
	prompt_tokens INTEGER NOT NULL, 
	completion_tokens INTEGER NOT NULL, 
	cached_tokens INTEGER NOT NULL, 
	reasoning_tokens INTEGER NOT NULL, 
	usage_source TEXT NOT NULL, 
	price_nano INTEGER, 
	price_currency TEXT, 
	CONSTRAINT pk_attempts PRIMARY KEY (attempt_id), 
	CONSTRAINT ck_attempts_price_whole CHECK ((price_nano IS NULL) = (price_currency IS NULL))
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "attempts" VALUES('attempt-000001','request-000001','aaaaaaaaaaaa','auto','small','laptop/small',3,1,1700000000000001,21000,45000,'answered','stop',NULL,101,57,13,7,'reported',1234567,'USD');
INSERT INTO "attempts" VALUES('attempt-000002','request-000001','aaaaaaaaaaaa','auto','small','laptop/small',3,1,1700000000000002,NULL,45000,'failed',NULL,'upstream_failed',9,0,0,0,'estimate',NULL,NULL);
INSERT INTO "attempts" VALUES('attempt-000003','request-000003','aaaaaaaaaaaa','auto','small','laptop/small',3,0,1700000000000003,21000,45000,'answered','stop',NULL,101,57,13,7,'reported',5,'EUR');
CREATE TABLE keys (
	key_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	secret_sha256 BLOB NOT NULL, 
	created_at_s INTEGER NOT NULL, 
	routes TEXT, 
	expires_at_s INTEGER, 
	revoked_at_s INTEGER, 
	CONSTRAINT pk_keys PRIMARY KEY (key_id)
)
 STRICT

;
INSERT INTO "keys" VALUES('a1a1a1a1a1a1','école',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F',1700000000,NULL,NULL,NULL);
INSERT INTO "keys" VALUES('b2b2b2b2b2b2','guest',X'202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F',1700000100,'["auto"]',1800000000,1700000200);
CREATE TABLE keys_revision (
	id INTEGER NOT NULL, 
	revision INTEGER NOT NULL, 
	CONSTRAINT pk_keys_revision PRIMARY KEY (id), 
	CONSTRAINT ck_keys_revision_one_row CHECK (id = 1)
)
 STRICT

;
INSERT INTO "keys_revision" VALUES(1,3);
CREATE INDEX ix_attempts_started_at_us ON attempts (started_at_us);
CREATE TRIGGER attempts_refuse_update BEFORE UPDATE ON attempts BEGIN SELECT RAISE(ABORT, 'attempts are append-only'); END;
CREATE TRIGGER attempts_refuse_delete BEFORE DELETE ON attempts BEGIN SELECT RAISE(ABORT, 'attempts are append-only'); END;
COMMIT;
