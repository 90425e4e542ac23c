BEGIN;

DO $rowcast$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'rowcast') THEN
        CREATE SCHEMA "rowcast";
        COMMENT ON SCHEMA "rowcast" IS 'Rowcast: what the bridge keeps for itself';
    END IF;
END $rowcast$;

SET LOCAL search_path = "rowcast";

CREATE TABLE rowcast.alembic_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

CREATE TABLE epoch (
            epoch bigint NOT NULL,
            one boolean PRIMARY KEY DEFAULT true CHECK (one)
        );

COMMENT ON TABLE epoch IS 'Raised at every connect, so that versions never go back.'
            ' rowcast: {"schema": 1, "since": 1}';

INSERT INTO epoch (epoch) VALUES (0);

INSERT INTO rowcast.alembic_version (version_num) VALUES ('0001') RETURNING rowcast.alembic_version.version_num;

COMMIT;

BEGIN;
SET LOCAL lock_timeout = '500ms';
CREATE SEQUENCE "rowcast"."audit_seq";
CREATE SEQUENCE "rowcast"."audit_slot" MINVALUE 0;
CREATE TABLE "rowcast"."audit" (
    slot int NOT NULL,
    seq bigint NOT NULL DEFAULT pg_catalog.nextval('"rowcast"."audit_seq"'),
    xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT pg_catalog.transaction_timestamp(),
    source text NOT NULL,
    op text NOT NULL,
    key text,
    changed text[],
    old jsonb,
    new jsonb,
    login text NOT NULL DEFAULT session_user,
    role text NOT NULL DEFAULT coalesce(
        nullif(pg_catalog.current_setting('role'), 'none'), session_user),
    actor text DEFAULT nullif(
        pg_catalog."left"(pg_catalog.current_setting('rowcast.actor', true), 200), ''),
    application text DEFAULT nullif(pg_catalog.current_setting('application_name'), ''),
    fault text
) PARTITION BY LIST (slot);
ALTER SEQUENCE "rowcast"."audit_seq" OWNED BY "rowcast"."audit".seq;
ALTER SEQUENCE "rowcast"."audit_slot" OWNED BY "rowcast"."audit".slot;
CREATE TABLE "rowcast"."audit_rest" PARTITION OF "rowcast"."audit" DEFAULT;
CREATE TABLE "rowcast"."audit_0" PARTITION OF "rowcast"."audit" FOR VALUES IN (0);
CREATE TABLE "rowcast"."audit_1" PARTITION OF "rowcast"."audit" FOR VALUES IN (1);
CREATE TABLE "rowcast"."audit_2" PARTITION OF "rowcast"."audit" FOR VALUES IN (2);
CREATE TABLE "rowcast"."audit_3" PARTITION OF "rowcast"."audit" FOR VALUES IN (3);
CREATE TABLE "rowcast"."audit_4" PARTITION OF "rowcast"."audit" FOR VALUES IN (4);
CREATE TABLE "rowcast"."audit_5" PARTITION OF "rowcast"."audit" FOR VALUES IN (5);
CREATE TABLE "rowcast"."audit_6" PARTITION OF "rowcast"."audit" FOR VALUES IN (6);
CREATE TABLE "rowcast"."audit_7" PARTITION OF "rowcast"."audit" FOR VALUES IN (7);
CREATE INDEX ON "rowcast"."audit" (source, key);
CREATE INDEX ON "rowcast"."audit" USING brin (at);
CREATE TABLE "rowcast"."audit_about" (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    identity text NOT NULL DEFAULT pg_catalog.gen_random_uuid()::text,
    pruned bigint,
    began timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
INSERT INTO "rowcast"."audit_about" DEFAULT VALUES;
COMMENT ON TABLE "rowcast"."audit" IS 'Rowcast: who did what; kept for `audit_retention`; written by triggers alone';
COMMIT;

BEGIN;
SET LOCAL lock_timeout = '500ms';
CREATE SEQUENCE "rowcast"."changes_seq";
CREATE SEQUENCE "rowcast"."changes_slot" MINVALUE 0;
CREATE TABLE "rowcast"."changes" (
    slot int NOT NULL,
    seq bigint NOT NULL DEFAULT pg_catalog.nextval('"rowcast"."changes_seq"'),
    xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    payload text NOT NULL
) PARTITION BY LIST (slot);
ALTER SEQUENCE "rowcast"."changes_seq" OWNED BY "rowcast"."changes".seq;
ALTER SEQUENCE "rowcast"."changes_slot" OWNED BY "rowcast"."changes".slot;
CREATE TABLE "rowcast"."changes_rest" PARTITION OF "rowcast"."changes" DEFAULT;
CREATE TABLE "rowcast"."changes_0" PARTITION OF "rowcast"."changes" FOR VALUES IN (0);
CREATE TABLE "rowcast"."changes_1" PARTITION OF "rowcast"."changes" FOR VALUES IN (1);
CREATE TABLE "rowcast"."changes_2" PARTITION OF "rowcast"."changes" FOR VALUES IN (2);
CREATE TABLE "rowcast"."changes_3" PARTITION OF "rowcast"."changes" FOR VALUES IN (3);
CREATE TABLE "rowcast"."changes_4" PARTITION OF "rowcast"."changes" FOR VALUES IN (4);
CREATE TABLE "rowcast"."changes_5" PARTITION OF "rowcast"."changes" FOR VALUES IN (5);
CREATE TABLE "rowcast"."changes_6" PARTITION OF "rowcast"."changes" FOR VALUES IN (6);
CREATE TABLE "rowcast"."changes_7" PARTITION OF "rowcast"."changes" FOR VALUES IN (7);
CREATE INDEX ON "rowcast"."changes" (xid);
CREATE UNLOGGED TABLE "rowcast"."changes_about" (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    identity text NOT NULL DEFAULT pg_catalog.gen_random_uuid()::text,
    pruned xid8,
    began timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
INSERT INTO "rowcast"."changes_about" DEFAULT VALUES;
COMMENT ON TABLE "rowcast"."changes" IS 'Rowcast: kept for `retention`; written by triggers alone';
COMMIT;

BEGIN;
SET LOCAL lock_timeout = '500ms';
CREATE SEQUENCE "rowcast"."log_seq";
CREATE SEQUENCE "rowcast"."log_slot" MINVALUE 0;
CREATE TABLE "rowcast"."log" (
    slot int NOT NULL,
    seq bigint NOT NULL DEFAULT pg_catalog.nextval('"rowcast"."log_seq"'),
    xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    source text NOT NULL, key text NOT NULL
) PARTITION BY LIST (slot);
ALTER SEQUENCE "rowcast"."log_seq" OWNED BY "rowcast"."log".seq;
ALTER SEQUENCE "rowcast"."log_slot" OWNED BY "rowcast"."log".slot;
CREATE TABLE "rowcast"."log_rest" PARTITION OF "rowcast"."log" DEFAULT;
CREATE TABLE "rowcast"."log_0" PARTITION OF "rowcast"."log" FOR VALUES IN (0);
CREATE TABLE "rowcast"."log_1" PARTITION OF "rowcast"."log" FOR VALUES IN (1);
CREATE TABLE "rowcast"."log_2" PARTITION OF "rowcast"."log" FOR VALUES IN (2);
CREATE TABLE "rowcast"."log_3" PARTITION OF "rowcast"."log" FOR VALUES IN (3);
CREATE TABLE "rowcast"."log_4" PARTITION OF "rowcast"."log" FOR VALUES IN (4);
CREATE TABLE "rowcast"."log_5" PARTITION OF "rowcast"."log" FOR VALUES IN (5);
CREATE TABLE "rowcast"."log_6" PARTITION OF "rowcast"."log" FOR VALUES IN (6);
CREATE TABLE "rowcast"."log_7" PARTITION OF "rowcast"."log" FOR VALUES IN (7);
CREATE INDEX ON "rowcast"."log" (seq);
CREATE INDEX ON "rowcast"."log" (source, key);
CREATE TABLE "rowcast"."log_about" (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    identity text NOT NULL DEFAULT pg_catalog.gen_random_uuid()::text,
    pruned bigint,
    began timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
INSERT INTO "rowcast"."log_about" DEFAULT VALUES;
COMMENT ON TABLE "rowcast"."log" IS 'Rowcast: kept for `retention`; written by triggers alone';
COMMIT;

BEGIN;
SET LOCAL lock_timeout = '500ms';
CREATE TABLE IF NOT EXISTS "rowcast"."channels" (
    channel text PRIMARY KEY CHECK (octet_length(channel) BETWEEN 1 AND 1000),
    version bigint NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS "rowcast"."events" (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text NOT NULL,
    version bigint NOT NULL,
    event_type text NOT NULL CHECK (octet_length(event_type) BETWEEN 1 AND 200),
    "timestamp" timestamptz NOT NULL,
    data jsonb NOT NULL,
    metadata jsonb NOT NULL CHECK (jsonb_typeof(metadata) = 'object'),
    UNIQUE (channel, version)
);
INSERT INTO "rowcast"."channels" SELECT channel, max(version) FROM "rowcast"."events" GROUP BY channel
ON CONFLICT (channel) DO NOTHING;
COMMENT ON TABLE "rowcast"."events" IS 'Rowcast: what applications have published; see rowcast.publish';
CREATE OR REPLACE FUNCTION "rowcast"."append"(channel text, events jsonb, expected_version bigint DEFAULT NULL)
RETURNS TABLE ("position" bigint, version bigint, "timestamp" timestamptz)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $rowcast$
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    many int;
    place bigint;
    last bigint;
    moment timestamptz;
BEGIN
    IF append.channel IS NULL OR octet_length(append.channel) NOT BETWEEN 1 AND 1000 THEN
        RAISE 'a channel has a name of 1 to 1000 bytes, not of %',
            coalesce(octet_length(append.channel), 0) USING ERRCODE = '22023';
    END IF;
    IF jsonb_typeof(append.events) = 'array' THEN
        many := nullif(jsonb_array_length(append.events), 0);
    END IF;
    IF many IS NULL THEN
        RAISE 'events must be a JSON array of at least one event' USING ERRCODE = '22023';
    END IF;
    SELECT n INTO place FROM jsonb_array_elements(append.events) WITH ORDINALITY AS e (event, n)
    WHERE (CASE WHEN jsonb_typeof(event) = 'object' THEN
        event -> 'data' IS NULL
        OR octet_length(event ->> 'event_type') NOT BETWEEN 1 AND 200
        OR jsonb_typeof(event -> 'event_type') <> 'string'
        OR jsonb_typeof(event -> 'metadata') <> 'object'
        OR event - '{event_type,data,metadata}'::text[] <> '{}'
        ELSE true END)
    ORDER BY n LIMIT 1;
    IF place IS NOT NULL THEN
        RAISE 'event % of % is not one', place, many USING ERRCODE = '22023',
            HINT = 'It is an object of `data` (any JSON), `event_type` (text of 1 to 200 bytes)'
                ' and `metadata` (an object); all but `data` may be left out.';
    END IF;
    INSERT INTO "rowcast"."channels" AS c (channel, version) VALUES (append.channel, many)
    ON CONFLICT (channel) DO UPDATE SET version = c.version + excluded.version
    RETURNING c.version INTO last;
    IF append.expected_version <> last - many THEN
        RAISE 'channel % is at version %, not %',
            quote_literal(append.channel), last - many, append.expected_version
            USING ERRCODE = 'RC001',
            HINT = 'Somebody else appended. Read what came since, and decide again.';
    END IF;
    moment := clock_timestamp();
    RETURN QUERY
    INSERT INTO "rowcast"."events" AS a (channel, version, event_type, "timestamp", data, metadata)
    SELECT append.channel, last - many + n, coalesce(event ->> 'event_type', 'event'), moment,
           event -> 'data', coalesce(event -> 'metadata', '{}')
    FROM jsonb_array_elements(append.events) WITH ORDINALITY AS e (event, n)
    ORDER BY n
    RETURNING a."position", a.version, a."timestamp";
END
$rowcast$;
REVOKE ALL ON FUNCTION "rowcast"."append"(text, jsonb, bigint) FROM PUBLIC;
CREATE OR REPLACE FUNCTION "rowcast"."publish"(channel text, data jsonb, metadata jsonb DEFAULT '{}', event_type text DEFAULT 'event', expected_version bigint DEFAULT NULL)
RETURNS TABLE ("position" bigint, version bigint, "timestamp" timestamptz)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $rowcast$
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
BEGIN
    IF publish.data IS NULL OR publish.metadata IS NULL OR publish.event_type IS NULL THEN
        RAISE 'data, metadata and event_type must not be NULL; JSON''s null is ''null''::jsonb'
            USING ERRCODE = '22004';
    END IF;
    RETURN QUERY SELECT * FROM "rowcast"."append"(publish.channel, jsonb_build_array(jsonb_build_object(
        'event_type', publish.event_type, 'data', publish.data, 'metadata', publish.metadata)),
        publish.expected_version);
END
$rowcast$;
REVOKE ALL ON FUNCTION "rowcast"."publish"(text, jsonb, jsonb, text, bigint) FROM PUBLIC;
COMMIT;

BEGIN;
SET LOCAL lock_timeout = '500ms';
CREATE OR REPLACE FUNCTION "rowcast"."capture_49d3c22da0be"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $capture_49d3c22da0be$
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    kept text[];
BEGIN
    BEGIN
        kept := ARRAY(
            SELECT CASE WHEN octet_length(e.entry) <= 2300 THEN e.entry ELSE '*' END
            FROM (SELECT ('[' || to_json("n"."position"::text)::text || ']') AS entry, "n"."position" AS position FROM new_rows AS n) AS e
            ORDER BY e.position);
    EXCEPTION WHEN OTHERS THEN
        kept := ARRAY['*'];
    END;
    IF kept <> '{}' AND to_regclass('"rowcast"."log"') IS NOT NULL THEN
        INSERT INTO "rowcast"."log" (slot, source, key)
        SELECT (SELECT (last_value % 8)::int FROM "rowcast"."log_slot"), 'events', k.entry
        FROM unnest(kept) WITH ORDINALITY AS k(entry, n) ORDER BY k.n;
        -- Where transactions may be prepared, the bridge looks by itself: one that has
        -- notified cannot be.
        IF current_setting('max_prepared_transactions') = '0' THEN
            PERFORM pg_notify('rowcast', '{"ring": "log"}');
        END IF;
    END IF;
    RETURN NULL;
END
$capture_49d3c22da0be$;
COMMENT ON FUNCTION "rowcast"."capture_49d3c22da0be"() IS 'rowcast: {"format": 2, "table": "events", "sha256": "48794321ca87f326ef7adc75f528a9ad8ad61c10ae5c3fb67dc14b89c1aad6aa", "asks": "02e90f7d3af77036"}';
REVOKE ALL ON FUNCTION "rowcast"."capture_49d3c22da0be"() FROM PUBLIC;
CREATE TRIGGER "rowcast_insert_49d3c22da0be" AFTER INSERT ON "rowcast"."events" REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."capture_49d3c22da0be"();
COMMIT;

BEGIN;
SET LOCAL lock_timeout = '500ms';
CREATE OR REPLACE FUNCTION "rowcast"."capture_72501dde46cb"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET "DateStyle" = 'ISO, YMD'
SET "IntervalStyle" = 'postgres'
SET "TimeZone" = 'UTC'
SET "bytea_output" = 'hex'
SET "extra_float_digits" = '1'
SET "lc_monetary" = 'C'
AS $capture_72501dde46cb$
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    touched bigint;
    before int;
    kept text[] := '{}';
BEGIN
    <<capture>>
    BEGIN
        IF TG_OP = 'INSERT' THEN
        before := cardinality(kept);
        PERFORM FROM (SELECT * FROM new_rows AS "orders" WHERE (status <> 'draft'
)) AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched = 1 THEN
            kept := kept || ARRAY(SELECT '{"t":"orders","o":"' || e.operation || '","k":[' || e.entry || ']}'
            FROM (SELECT 'i' AS operation, ('[' || to_json("n"."id"::text)::text || ']') AS entry FROM (SELECT * FROM new_rows AS "orders" WHERE (status <> 'draft'
)) AS n) AS e
            WHERE octet_length(e.entry) <= 2600);
            IF cardinality(kept) > before THEN EXIT capture; END IF;
        END IF;
        IF touched > 1000 THEN
        kept := kept || ARRAY(SELECT '{"t":"orders","o":"*"' || '}');
        ELSIF touched > 0 THEN
            kept := kept || ARRAY(SELECT CASE
                WHEN bool_and(coalesce(octet_length(p.entry) <= 2600, false))
                THEN '{"t":"orders","o":"' || p.operation || '","k":[' || string_agg(p.entry, ',') || ']}'
                ELSE '{"t":"orders","o":"*"' || '}' END
            FROM (
                SELECT e.operation, e.entry, sum(octet_length(e.entry) + 1) OVER (
                    PARTITION BY e.operation ROWS UNBOUNDED PRECEDING) / 5266 AS page
                FROM (SELECT 'i' AS operation, ('[' || to_json("n"."id"::text)::text || ']') AS entry FROM (SELECT * FROM new_rows AS "orders" WHERE (status <> 'draft'
)) AS n) AS e
            ) AS p
            GROUP BY p.operation, p.page);
        END IF;
        ELSIF TG_OP = 'UPDATE' THEN
        before := cardinality(kept);
        touched := greatest(
            (SELECT count(*) FROM (SELECT FROM (SELECT * FROM old_rows AS "orders" WHERE (status <> 'draft'
)) AS o LIMIT 1000 + 1) AS c),
            (SELECT count(*) FROM (SELECT FROM (SELECT * FROM new_rows AS "orders" WHERE (status <> 'draft'
)) AS n LIMIT 1000 + 1) AS c));
        IF touched = 1 THEN
            kept := kept || ARRAY(SELECT '{"t":"orders","o":"' || e.operation || '","k":[' || e.entry || ']}'
            FROM (
                SELECT 'u' AS operation, CASE WHEN ("o"."customer_id"::text) COLLATE "C" IS NOT DISTINCT FROM ("n"."customer_id"::text) COLLATE "C" THEN ('[' || to_json("n"."id"::text)::text || ']') ELSE ('[' || to_json("o"."id"::text)::text || ',' || coalesce(to_json("o"."customer_id"::text)::text, 'null') || ']') END AS entry FROM (SELECT * FROM old_rows AS "orders" WHERE (status <> 'draft'
)) AS o, (SELECT * FROM new_rows AS "orders" WHERE (status <> 'draft'
)) AS n
                WHERE "o"."id" = "n"."id" AND o.* OPERATOR(pg_catalog.*<>) n.*) AS e
            WHERE octet_length(e.entry) <= 2600);
            IF cardinality(kept) > before THEN EXIT capture; END IF;
        END IF;
        IF touched > 1000 THEN
        kept := kept || ARRAY(SELECT '{"t":"orders","o":"*"' || '}');
        ELSIF touched > 0 THEN
            kept := kept || ARRAY(SELECT CASE
                WHEN bool_and(coalesce(octet_length(p.entry) <= 2600, false))
                THEN '{"t":"orders","o":"' || p.operation || '","k":[' || string_agg(p.entry, ',') || ']}'
                ELSE '{"t":"orders","o":"*"' || '}' END
            FROM (
                SELECT e.operation, e.entry, sum(octet_length(e.entry) + 1) OVER (
                    PARTITION BY e.operation ROWS UNBOUNDED PRECEDING) / 5266 AS page
                FROM (
                    SELECT CASE WHEN "o"."id" IS NULL THEN 'i' WHEN "n"."id" IS NULL THEN 'd' ELSE 'u' END
                               AS operation,
                           CASE WHEN "o"."id" IS NULL THEN ('[' || to_json("n"."id"::text)::text || ']') WHEN "n"."id" IS NULL THEN ('[' || to_json("o"."id"::text)::text || ',' || coalesce(to_json("o"."customer_id"::text)::text, 'null') || ']') ELSE CASE WHEN ("o"."customer_id"::text) COLLATE "C" IS NOT DISTINCT FROM ("n"."customer_id"::text) COLLATE "C" THEN ('[' || to_json("n"."id"::text)::text || ']') ELSE ('[' || to_json("o"."id"::text)::text || ',' || coalesce(to_json("o"."customer_id"::text)::text, 'null') || ']') END END
                               AS entry
                    FROM (SELECT * FROM old_rows AS "orders" WHERE (status <> 'draft'
)) AS o FULL JOIN (SELECT * FROM new_rows AS "orders" WHERE (status <> 'draft'
)) AS n ON "o"."id" = "n"."id"
                    WHERE "o"."id" IS NULL OR "n"."id" IS NULL OR o.* OPERATOR(pg_catalog.*<>) n.*) AS e
            ) AS p
            GROUP BY p.operation, p.page);
        END IF;
        ELSIF TG_OP = 'DELETE' THEN
        before := cardinality(kept);
        PERFORM FROM (SELECT * FROM old_rows AS "orders" WHERE (status <> 'draft'
)) AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched = 1 THEN
            kept := kept || ARRAY(SELECT '{"t":"orders","o":"' || e.operation || '","k":[' || e.entry || ']}'
            FROM (SELECT 'd' AS operation, ('[' || to_json("o"."id"::text)::text || ',' || coalesce(to_json("o"."customer_id"::text)::text, 'null') || ']') AS entry FROM (SELECT * FROM old_rows AS "orders" WHERE (status <> 'draft'
)) AS o) AS e
            WHERE octet_length(e.entry) <= 2600);
            IF cardinality(kept) > before THEN EXIT capture; END IF;
        END IF;
        IF touched > 1000 THEN
        kept := kept || ARRAY(SELECT '{"t":"orders","o":"*"' || '}');
        ELSIF touched > 0 THEN
            kept := kept || ARRAY(SELECT CASE
                WHEN bool_and(coalesce(octet_length(p.entry) <= 2600, false))
                THEN '{"t":"orders","o":"' || p.operation || '","k":[' || string_agg(p.entry, ',') || ']}'
                ELSE '{"t":"orders","o":"*"' || '}' END
            FROM (
                SELECT e.operation, e.entry, sum(octet_length(e.entry) + 1) OVER (
                    PARTITION BY e.operation ROWS UNBOUNDED PRECEDING) / 5266 AS page
                FROM (SELECT 'd' AS operation, ('[' || to_json("o"."id"::text)::text || ',' || coalesce(to_json("o"."customer_id"::text)::text, 'null') || ']') AS entry FROM (SELECT * FROM old_rows AS "orders" WHERE (status <> 'draft'
)) AS o) AS e
            ) AS p
            GROUP BY p.operation, p.page);
        END IF;
        ELSE
        kept := kept || ARRAY(SELECT '{"t":"orders","o":"*"' || '}');
        END IF;
    EXCEPTION WHEN OTHERS THEN
        kept := '{}';
        BEGIN
        kept := kept || ARRAY(SELECT '{"t":"orders","o":"*"' || ',"e":"' || SQLSTATE || '"}');
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'rowcast: a change of % was not kept: %', TG_RELID::regclass, SQLERRM;
        END;
    END capture;
    IF kept <> '{}' AND to_regclass('"rowcast"."changes"') IS NOT NULL THEN
        INSERT INTO "rowcast"."changes" (slot, payload) SELECT (SELECT (last_value % 8)::int FROM "rowcast"."changes_slot"), k FROM unnest(kept) AS k;
        -- Where transactions may be prepared, the bridge looks by itself: one that has
        -- notified cannot be. Nor is it rung for where an instance holds the lock, or asks
        -- for it: then it looks by itself, for rings commit one after the other.
        IF current_setting('max_prepared_transactions') = '0'
            AND pg_try_advisory_xact_lock_shared(pg_catalog.hashtextextended('rowcast.changes pace', 0))
        THEN
            PERFORM pg_notify('rowcast', '{"ring": "changes"}');
        END IF;
    END IF;
    RETURN NULL;
END
$capture_72501dde46cb$;
COMMENT ON FUNCTION "rowcast"."capture_72501dde46cb"() IS 'rowcast: {"format": 2, "table": "orders", "sha256": "b9312211e05e27b0fb2a06594337f9c5de67880860a961c7b48b4edc8181530e", "asks": "5b0dc2d99decdeb6", "where": "status <> ''draft''", "sent": ["id", "customer_id", "status", "placed"]}';
REVOKE ALL ON FUNCTION "rowcast"."capture_72501dde46cb"() FROM PUBLIC;
CREATE TRIGGER "rowcast_insert_72501dde46cb" AFTER INSERT ON "public"."orders" REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."capture_72501dde46cb"();
CREATE TRIGGER "rowcast_update_72501dde46cb" AFTER UPDATE ON "public"."orders" REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."capture_72501dde46cb"();
CREATE TRIGGER "rowcast_delete_72501dde46cb" AFTER DELETE ON "public"."orders" REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."capture_72501dde46cb"();
CREATE TRIGGER "rowcast_truncate_72501dde46cb" AFTER TRUNCATE ON "public"."orders"
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."capture_72501dde46cb"();
COMMIT;

BEGIN;
SET LOCAL lock_timeout = '500ms';
CREATE OR REPLACE FUNCTION "rowcast"."audit_72501dde46cb"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $audit_72501dde46cb$
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    touched bigint;
    ops text[];
    keys text[];
    changes text[];
    olds jsonb[];
    news jsonb[];
    fault text;
BEGIN
    IF to_regclass('"rowcast"."audit"') IS NULL THEN
        RETURN NULL;
    END IF;
    FOR attempt IN 1..3 + 1 LOOP
        BEGIN
            IF TG_OP = 'TRUNCATE' OR attempt > 3 THEN
                ops := ARRAY[lower(TG_OP)];
                keys := ARRAY[CASE WHEN attempt > 3 THEN '*' END];
            ELSIF attempt = 1 AND TG_OP = 'INSERT' THEN
        PERFORM FROM new_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'orders', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, (jsonb_build_object('status', to_jsonb("n"."status"))) AS new FROM new_rows AS n) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, (jsonb_build_object('status', to_jsonb("n"."status"))) AS new FROM new_rows AS n) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, (jsonb_build_object('status', to_jsonb("n"."status"))) AS new FROM new_rows AS n) AS e;
                END IF;
            ELSIF attempt = 1 AND TG_OP = 'UPDATE' THEN
        PERFORM FROM new_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'orders', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'update' AS op, CASE WHEN "n"."id" IS NULL THEN ('[' || to_json("o"."id"::text)::text || ']') ELSE ('[' || to_json("n"."id"::text)::text || ']') END
                               AS key,
                           CASE WHEN "o"."id" IS NULL OR "n"."id" IS NULL THEN array_remove(ARRAY['id']::text[], NULL)::text ELSE array_remove(ARRAY[CASE WHEN ROW("o"."id")::record OPERATOR(pg_catalog.*<>) ROW("n"."id")::record THEN 'id' END, CASE WHEN ROW("o"."customer_id")::record OPERATOR(pg_catalog.*<>) ROW("n"."customer_id")::record THEN 'customer_id' END, CASE WHEN ROW("o"."status")::record OPERATOR(pg_catalog.*<>) ROW("n"."status")::record THEN 'status' END, CASE WHEN ROW("o"."placed")::record OPERATOR(pg_catalog.*<>) ROW("n"."placed")::record THEN 'placed' END, CASE WHEN ROW("o"."secret")::record OPERATOR(pg_catalog.*<>) ROW("n"."secret")::record THEN 'secret' END]::text[], NULL)::text END
                               AS changed,
                           CASE WHEN "o"."id" IS NULL THEN NULL WHEN "n"."id" IS NULL THEN (jsonb_build_object('status', to_jsonb("o"."status")))
                                ELSE (CASE WHEN ROW("o"."status")::record OPERATOR(pg_catalog.*<>) ROW("n"."status")::record THEN jsonb_build_object('status', to_jsonb("o"."status")) ELSE '{}' END) END AS old,
                           CASE WHEN "n"."id" IS NULL THEN NULL WHEN "o"."id" IS NULL THEN (jsonb_build_object('status', to_jsonb("n"."status")))
                                ELSE (CASE WHEN ROW("o"."status")::record OPERATOR(pg_catalog.*<>) ROW("n"."status")::record THEN jsonb_build_object('status', to_jsonb("n"."status")) ELSE '{}' END) END AS new
                    FROM old_rows AS o FULL JOIN new_rows AS n ON "o"."id" = "n"."id"
                    WHERE "o"."id" IS NULL OR "n"."id" IS NULL OR o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'update' AS op, v.key, array_remove(ARRAY[CASE WHEN ROW("o"."id")::record OPERATOR(pg_catalog.*<>) ROW("n"."id")::record THEN 'id' END, CASE WHEN ROW("o"."customer_id")::record OPERATOR(pg_catalog.*<>) ROW("n"."customer_id")::record THEN 'customer_id' END, CASE WHEN ROW("o"."status")::record OPERATOR(pg_catalog.*<>) ROW("n"."status")::record THEN 'status' END, CASE WHEN ROW("o"."placed")::record OPERATOR(pg_catalog.*<>) ROW("n"."placed")::record THEN 'placed' END, CASE WHEN ROW("o"."secret")::record OPERATOR(pg_catalog.*<>) ROW("n"."secret")::record THEN 'secret' END]::text[], NULL)::text AS changed, (CASE WHEN ROW("o"."status")::record OPERATOR(pg_catalog.*<>) ROW("n"."status")::record THEN jsonb_build_object('status', to_jsonb("o"."status")) ELSE '{}' END) AS old,
                           (CASE WHEN ROW("o"."status")::record OPERATOR(pg_catalog.*<>) ROW("n"."status")::record THEN jsonb_build_object('status', to_jsonb("n"."status")) ELSE '{}' END) AS new
                    FROM old_rows AS o CROSS JOIN new_rows AS n
                    CROSS JOIN LATERAL (SELECT ('[' || to_json("n"."id"::text)::text || ']') UNION SELECT ('[' || to_json("o"."id"::text)::text || ']')) AS v(key)
                    WHERE o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'update' AS op, CASE WHEN "n"."id" IS NULL THEN ('[' || to_json("o"."id"::text)::text || ']') ELSE ('[' || to_json("n"."id"::text)::text || ']') END
                               AS key,
                           CASE WHEN "o"."id" IS NULL OR "n"."id" IS NULL THEN array_remove(ARRAY['id']::text[], NULL)::text ELSE array_remove(ARRAY[CASE WHEN ROW("o"."id")::record OPERATOR(pg_catalog.*<>) ROW("n"."id")::record THEN 'id' END, CASE WHEN ROW("o"."customer_id")::record OPERATOR(pg_catalog.*<>) ROW("n"."customer_id")::record THEN 'customer_id' END, CASE WHEN ROW("o"."status")::record OPERATOR(pg_catalog.*<>) ROW("n"."status")::record THEN 'status' END, CASE WHEN ROW("o"."placed")::record OPERATOR(pg_catalog.*<>) ROW("n"."placed")::record THEN 'placed' END, CASE WHEN ROW("o"."secret")::record OPERATOR(pg_catalog.*<>) ROW("n"."secret")::record THEN 'secret' END]::text[], NULL)::text END
                               AS changed,
                           CASE WHEN "o"."id" IS NULL THEN NULL WHEN "n"."id" IS NULL THEN (jsonb_build_object('status', to_jsonb("o"."status")))
                                ELSE (CASE WHEN ROW("o"."status")::record OPERATOR(pg_catalog.*<>) ROW("n"."status")::record THEN jsonb_build_object('status', to_jsonb("o"."status")) ELSE '{}' END) END AS old,
                           CASE WHEN "n"."id" IS NULL THEN NULL WHEN "o"."id" IS NULL THEN (jsonb_build_object('status', to_jsonb("n"."status")))
                                ELSE (CASE WHEN ROW("o"."status")::record OPERATOR(pg_catalog.*<>) ROW("n"."status")::record THEN jsonb_build_object('status', to_jsonb("n"."status")) ELSE '{}' END) END AS new
                    FROM old_rows AS o FULL JOIN new_rows AS n ON "o"."id" = "n"."id"
                    WHERE "o"."id" IS NULL OR "n"."id" IS NULL OR o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                END IF;
            ELSIF attempt = 1 AND TG_OP = 'DELETE' THEN
        PERFORM FROM old_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'orders', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           (jsonb_build_object('status', to_jsonb("o"."status"))) AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           (jsonb_build_object('status', to_jsonb("o"."status"))) AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           (jsonb_build_object('status', to_jsonb("o"."status"))) AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                END IF;
            ELSIF attempt = 2 AND TG_OP = 'INSERT' THEN
        PERFORM FROM new_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'orders', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM new_rows AS n) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM new_rows AS n) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM new_rows AS n) AS e;
                END IF;
            ELSIF attempt = 2 AND TG_OP = 'UPDATE' THEN
        PERFORM FROM new_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'orders', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'update' AS op, CASE WHEN "n"."id" IS NULL THEN ('[' || to_json("o"."id"::text)::text || ']') ELSE ('[' || to_json("n"."id"::text)::text || ']') END
                               AS key,
                           CASE WHEN "o"."id" IS NULL OR "n"."id" IS NULL THEN array_remove(ARRAY['id']::text[], NULL)::text ELSE array_remove(ARRAY[CASE WHEN ROW("o"."id")::record OPERATOR(pg_catalog.*<>) ROW("n"."id")::record THEN 'id' END, CASE WHEN ROW("o"."customer_id")::record OPERATOR(pg_catalog.*<>) ROW("n"."customer_id")::record THEN 'customer_id' END, CASE WHEN ROW("o"."status")::record OPERATOR(pg_catalog.*<>) ROW("n"."status")::record THEN 'status' END, CASE WHEN ROW("o"."placed")::record OPERATOR(pg_catalog.*<>) ROW("n"."placed")::record THEN 'placed' END, CASE WHEN ROW("o"."secret")::record OPERATOR(pg_catalog.*<>) ROW("n"."secret")::record THEN 'secret' END]::text[], NULL)::text END
                               AS changed,
                           CASE WHEN "o"."id" IS NULL THEN NULL WHEN "n"."id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS old,
                           CASE WHEN "n"."id" IS NULL THEN NULL WHEN "o"."id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS new
                    FROM old_rows AS o FULL JOIN new_rows AS n ON "o"."id" = "n"."id"
                    WHERE "o"."id" IS NULL OR "n"."id" IS NULL OR o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'update' AS op, v.key, array_remove(ARRAY[CASE WHEN ROW("o"."id")::record OPERATOR(pg_catalog.*<>) ROW("n"."id")::record THEN 'id' END, CASE WHEN ROW("o"."customer_id")::record OPERATOR(pg_catalog.*<>) ROW("n"."customer_id")::record THEN 'customer_id' END, CASE WHEN ROW("o"."status")::record OPERATOR(pg_catalog.*<>) ROW("n"."status")::record THEN 'status' END, CASE WHEN ROW("o"."placed")::record OPERATOR(pg_catalog.*<>) ROW("n"."placed")::record THEN 'placed' END, CASE WHEN ROW("o"."secret")::record OPERATOR(pg_catalog.*<>) ROW("n"."secret")::record THEN 'secret' END]::text[], NULL)::text AS changed, NULL::jsonb AS old,
                           NULL::jsonb AS new
                    FROM old_rows AS o CROSS JOIN new_rows AS n
                    CROSS JOIN LATERAL (SELECT ('[' || to_json("n"."id"::text)::text || ']') UNION SELECT ('[' || to_json("o"."id"::text)::text || ']')) AS v(key)
                    WHERE o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'update' AS op, CASE WHEN "n"."id" IS NULL THEN ('[' || to_json("o"."id"::text)::text || ']') ELSE ('[' || to_json("n"."id"::text)::text || ']') END
                               AS key,
                           CASE WHEN "o"."id" IS NULL OR "n"."id" IS NULL THEN array_remove(ARRAY['id']::text[], NULL)::text ELSE array_remove(ARRAY[CASE WHEN ROW("o"."id")::record OPERATOR(pg_catalog.*<>) ROW("n"."id")::record THEN 'id' END, CASE WHEN ROW("o"."customer_id")::record OPERATOR(pg_catalog.*<>) ROW("n"."customer_id")::record THEN 'customer_id' END, CASE WHEN ROW("o"."status")::record OPERATOR(pg_catalog.*<>) ROW("n"."status")::record THEN 'status' END, CASE WHEN ROW("o"."placed")::record OPERATOR(pg_catalog.*<>) ROW("n"."placed")::record THEN 'placed' END, CASE WHEN ROW("o"."secret")::record OPERATOR(pg_catalog.*<>) ROW("n"."secret")::record THEN 'secret' END]::text[], NULL)::text END
                               AS changed,
                           CASE WHEN "o"."id" IS NULL THEN NULL WHEN "n"."id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS old,
                           CASE WHEN "n"."id" IS NULL THEN NULL WHEN "o"."id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS new
                    FROM old_rows AS o FULL JOIN new_rows AS n ON "o"."id" = "n"."id"
                    WHERE "o"."id" IS NULL OR "n"."id" IS NULL OR o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                END IF;
            ELSIF attempt = 2 AND TG_OP = 'DELETE' THEN
        PERFORM FROM old_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'orders', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                END IF;
            ELSIF attempt = 3 AND TG_OP = 'INSERT' THEN
        PERFORM FROM new_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'orders', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM new_rows AS n) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM new_rows AS n) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM new_rows AS n) AS e;
                END IF;
            ELSIF attempt = 3 AND TG_OP = 'UPDATE' THEN
        PERFORM FROM new_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'orders', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'update' AS op, CASE WHEN "n"."id" IS NULL THEN ('[' || to_json("o"."id"::text)::text || ']') ELSE ('[' || to_json("n"."id"::text)::text || ']') END
                               AS key,
                           CASE WHEN "o"."id" IS NULL OR "n"."id" IS NULL THEN NULL::text ELSE NULL::text END
                               AS changed,
                           CASE WHEN "o"."id" IS NULL THEN NULL WHEN "n"."id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS old,
                           CASE WHEN "n"."id" IS NULL THEN NULL WHEN "o"."id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS new
                    FROM old_rows AS o FULL JOIN new_rows AS n ON "o"."id" = "n"."id"
                    WHERE "o"."id" IS NULL OR "n"."id" IS NULL OR o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'update' AS op, v.key, NULL::text AS changed, NULL::jsonb AS old,
                           NULL::jsonb AS new
                    FROM old_rows AS o CROSS JOIN new_rows AS n
                    CROSS JOIN LATERAL (SELECT ('[' || to_json("n"."id"::text)::text || ']') UNION SELECT ('[' || to_json("o"."id"::text)::text || ']')) AS v(key)
                    WHERE o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'update' AS op, CASE WHEN "n"."id" IS NULL THEN ('[' || to_json("o"."id"::text)::text || ']') ELSE ('[' || to_json("n"."id"::text)::text || ']') END
                               AS key,
                           CASE WHEN "o"."id" IS NULL OR "n"."id" IS NULL THEN NULL::text ELSE NULL::text END
                               AS changed,
                           CASE WHEN "o"."id" IS NULL THEN NULL WHEN "n"."id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS old,
                           CASE WHEN "n"."id" IS NULL THEN NULL WHEN "o"."id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS new
                    FROM old_rows AS o FULL JOIN new_rows AS n ON "o"."id" = "n"."id"
                    WHERE "o"."id" IS NULL OR "n"."id" IS NULL OR o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                END IF;
            ELSIF attempt = 3 AND TG_OP = 'DELETE' THEN
        PERFORM FROM old_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'orders', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."id"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                END IF;
            
            END IF;
            EXIT;
        EXCEPTION WHEN OTHERS THEN
            fault := coalesce(fault, SQLSTATE);
            ops := NULL; keys := NULL; changes := NULL; olds := NULL; news := NULL;
        END;
    END LOOP;
    IF ops IS NOT NULL THEN
        INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
        SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'orders', k.op, k.key, k.changed::text[], k.old, k.new, fault
        FROM unnest(ops, keys, changes, olds, news) AS k(op, key, changed, old, new);
    END IF;
    RETURN NULL;
END
$audit_72501dde46cb$;
COMMENT ON FUNCTION "rowcast"."audit_72501dde46cb"() IS 'rowcast: {"format": 2, "table": "orders", "sha256": "8b6de17f5b9ff5e5529f20d633f1edb25e0258d31c49fbad06cdbb58a87dc477", "asks": "f87f73fb26ea5724"}';
REVOKE ALL ON FUNCTION "rowcast"."audit_72501dde46cb"() FROM PUBLIC;
CREATE TRIGGER "rowcast_audit_insert_72501dde46cb" AFTER INSERT ON "public"."orders" REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."audit_72501dde46cb"();
CREATE TRIGGER "rowcast_audit_update_72501dde46cb" AFTER UPDATE ON "public"."orders" REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."audit_72501dde46cb"();
CREATE TRIGGER "rowcast_audit_delete_72501dde46cb" AFTER DELETE ON "public"."orders" REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."audit_72501dde46cb"();
CREATE TRIGGER "rowcast_audit_truncate_72501dde46cb" AFTER TRUNCATE ON "public"."orders"
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."audit_72501dde46cb"();
COMMIT;

BEGIN;
SET LOCAL lock_timeout = '500ms';
CREATE OR REPLACE FUNCTION "rowcast"."capture_488576babd2b"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $capture_488576babd2b$
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    touched bigint;
    before int;
    kept text[] := '{}';
BEGIN
    <<capture>>
    BEGIN
        IF TG_OP = 'INSERT' THEN
        PERFORM FROM new_rows AS r LIMIT 10000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched = 1 THEN
        kept := kept || ARRAY(SELECT CASE WHEN octet_length(e.entry) <= 2600
            THEN '{"t":"orders","o":"' || 'u","k":[' || e.entry || ']}' ELSE '{"t":"orders","o":"*"' || '}' END
        FROM (SELECT ('[' || to_json("n"."order_id"::text)::text || ']') AS entry FROM new_rows AS n) AS e
        WHERE e.entry IS NOT NULL);
        ELSIF touched > 10000 THEN
        kept := kept || ARRAY(SELECT '{"t":"orders","o":"*"' || '}');
        ELSIF touched > 0 THEN
            kept := kept || ARRAY(SELECT CASE
                WHEN max(p.parents) <= 1000 AND max(p.longest) <= 2600
                THEN '{"t":"orders","o":"' || 'u","k":[' || string_agg(p.entry, ',') || ']}'
                ELSE '{"t":"orders","o":"*"' || '}' END
            FROM (
                SELECT e.entry, count(*) OVER () AS parents,
                       max(octet_length(e.entry)) OVER () AS longest,
                       sum(octet_length(e.entry) + 1) OVER (ORDER BY e.entry COLLATE "C") / 5266
                           AS page
                FROM (SELECT DISTINCT d.entry FROM (SELECT ('[' || to_json("n"."order_id"::text)::text || ']') AS entry FROM new_rows AS n) AS d WHERE d.entry IS NOT NULL) AS e
            ) AS p
            GROUP BY p.page);
        END IF;
        ELSIF TG_OP = 'UPDATE' THEN
        PERFORM FROM new_rows AS r LIMIT 10000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched = 1 THEN
        kept := kept || ARRAY(SELECT CASE WHEN octet_length(e.entry) <= 2600
            THEN '{"t":"orders","o":"' || 'u","k":[' || e.entry || ']}' ELSE '{"t":"orders","o":"*"' || '}' END
        FROM (
                SELECT v.entry FROM old_rows AS o CROSS JOIN new_rows AS n
                CROSS JOIN LATERAL (VALUES (('[' || to_json("o"."order_id"::text)::text || ']')), (('[' || to_json("n"."order_id"::text)::text || ']'))) AS v(entry)
                WHERE ROW("o"."order_id", "o"."line", "o"."quantity")::record OPERATOR(pg_catalog.*<>) ROW("n"."order_id", "n"."line", "n"."quantity")::record) AS e
        WHERE e.entry IS NOT NULL);
        ELSIF touched > 10000 THEN
        kept := kept || ARRAY(SELECT '{"t":"orders","o":"*"' || '}');
        ELSIF touched BETWEEN 1 AND 1000 THEN
            kept := kept || ARRAY(SELECT CASE
                WHEN max(p.parents) <= 1000 AND max(p.longest) <= 2600
                THEN '{"t":"orders","o":"' || 'u","k":[' || string_agg(p.entry, ',') || ']}'
                ELSE '{"t":"orders","o":"*"' || '}' END
            FROM (
                SELECT e.entry, count(*) OVER () AS parents,
                       max(octet_length(e.entry)) OVER () AS longest,
                       sum(octet_length(e.entry) + 1) OVER (ORDER BY e.entry COLLATE "C") / 5266
                           AS page
                FROM (SELECT DISTINCT d.entry FROM (
                SELECT v.entry FROM (old_rows AS o FULL JOIN new_rows AS n ON "o"."order_id" = "n"."order_id" AND "o"."line" = "n"."line")
                CROSS JOIN LATERAL (VALUES (('[' || to_json("o"."order_id"::text)::text || ']')), (('[' || to_json("n"."order_id"::text)::text || ']'))) AS v(entry)
                WHERE ("o"."order_id" IS NULL OR "n"."order_id" IS NULL OR ROW("o"."order_id", "o"."line", "o"."quantity")::record OPERATOR(pg_catalog.*<>) ROW("n"."order_id", "n"."line", "n"."quantity")::record)) AS d WHERE d.entry IS NOT NULL) AS e
            ) AS p
            GROUP BY p.page);
        ELSIF touched > 0 THEN
            kept := kept || ARRAY(SELECT CASE
                WHEN max(p.parents) <= 1000 AND max(p.longest) <= 2600
                THEN '{"t":"orders","o":"' || 'u","k":[' || string_agg(p.entry, ',') || ']}'
                ELSE '{"t":"orders","o":"*"' || '}' END
            FROM (
                SELECT e.entry, count(*) OVER () AS parents,
                       max(octet_length(e.entry)) OVER () AS longest,
                       sum(octet_length(e.entry) + 1) OVER (ORDER BY e.entry COLLATE "C") / 5266
                           AS page
                FROM (SELECT DISTINCT d.entry FROM (SELECT ('[' || to_json("n"."order_id"::text)::text || ']') AS entry FROM new_rows AS n UNION ALL SELECT ('[' || to_json("o"."order_id"::text)::text || ']') AS entry FROM old_rows AS o) AS d WHERE d.entry IS NOT NULL) AS e
            ) AS p
            GROUP BY p.page);
        END IF;
        ELSIF TG_OP = 'DELETE' THEN
        PERFORM FROM old_rows AS r LIMIT 10000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched = 1 THEN
        kept := kept || ARRAY(SELECT CASE WHEN octet_length(e.entry) <= 2600
            THEN '{"t":"orders","o":"' || 'u","k":[' || e.entry || ']}' ELSE '{"t":"orders","o":"*"' || '}' END
        FROM (SELECT ('[' || to_json("o"."order_id"::text)::text || ']') AS entry FROM old_rows AS o) AS e
        WHERE e.entry IS NOT NULL);
        ELSIF touched > 10000 THEN
        kept := kept || ARRAY(SELECT '{"t":"orders","o":"*"' || '}');
        ELSIF touched > 0 THEN
            kept := kept || ARRAY(SELECT CASE
                WHEN max(p.parents) <= 1000 AND max(p.longest) <= 2600
                THEN '{"t":"orders","o":"' || 'u","k":[' || string_agg(p.entry, ',') || ']}'
                ELSE '{"t":"orders","o":"*"' || '}' END
            FROM (
                SELECT e.entry, count(*) OVER () AS parents,
                       max(octet_length(e.entry)) OVER () AS longest,
                       sum(octet_length(e.entry) + 1) OVER (ORDER BY e.entry COLLATE "C") / 5266
                           AS page
                FROM (SELECT DISTINCT d.entry FROM (SELECT ('[' || to_json("o"."order_id"::text)::text || ']') AS entry FROM old_rows AS o) AS d WHERE d.entry IS NOT NULL) AS e
            ) AS p
            GROUP BY p.page);
        END IF;
        ELSE
        kept := kept || ARRAY(SELECT '{"t":"orders","o":"*"' || '}');
        END IF;
    EXCEPTION WHEN OTHERS THEN
        kept := '{}';
        BEGIN
        kept := kept || ARRAY(SELECT '{"t":"orders","o":"*"' || ',"e":"' || SQLSTATE || '"}');
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'rowcast: a change of % was not kept: %', TG_RELID::regclass, SQLERRM;
        END;
    END capture;
    IF kept <> '{}' AND to_regclass('"rowcast"."changes"') IS NOT NULL THEN
        INSERT INTO "rowcast"."changes" (slot, payload) SELECT (SELECT (last_value % 8)::int FROM "rowcast"."changes_slot"), k FROM unnest(kept) AS k;
        -- Where transactions may be prepared, the bridge looks by itself: one that has
        -- notified cannot be. Nor is it rung for where an instance holds the lock, or asks
        -- for it: then it looks by itself, for rings commit one after the other.
        IF current_setting('max_prepared_transactions') = '0'
            AND pg_try_advisory_xact_lock_shared(pg_catalog.hashtextextended('rowcast.changes pace', 0))
        THEN
            PERFORM pg_notify('rowcast', '{"ring": "changes"}');
        END IF;
    END IF;
    RETURN NULL;
END
$capture_488576babd2b$;
COMMENT ON FUNCTION "rowcast"."capture_488576babd2b"() IS 'rowcast: {"format": 2, "table": "order_items", "sha256": "196e01bed7894ecbdebb71c5dd462956ea61e2bae1e92ea647b13aaa0ae108d1", "asks": "3715f658712546e4"}';
REVOKE ALL ON FUNCTION "rowcast"."capture_488576babd2b"() FROM PUBLIC;
CREATE TRIGGER "rowcast_insert_488576babd2b" AFTER INSERT ON "public"."order_items" REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."capture_488576babd2b"();
CREATE TRIGGER "rowcast_update_488576babd2b" AFTER UPDATE ON "public"."order_items" REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."capture_488576babd2b"();
COMMIT;

BEGIN;
SET LOCAL lock_timeout = '500ms';
CREATE OR REPLACE FUNCTION "rowcast"."audit_488576babd2b"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $audit_488576babd2b$
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    touched bigint;
    ops text[];
    keys text[];
    changes text[];
    olds jsonb[];
    news jsonb[];
    fault text;
BEGIN
    IF to_regclass('"rowcast"."audit"') IS NULL THEN
        RETURN NULL;
    END IF;
    FOR attempt IN 1..2 + 1 LOOP
        BEGIN
            IF TG_OP = 'TRUNCATE' OR attempt > 2 THEN
                ops := ARRAY[lower(TG_OP)];
                keys := ARRAY[CASE WHEN attempt > 2 THEN '*' END];
            ELSIF attempt = 1 AND TG_OP = 'INSERT' THEN
        PERFORM FROM new_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'order_items', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."order_id"::text)::text || ',' || to_json("n"."line"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM new_rows AS n) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."order_id"::text)::text || ',' || to_json("n"."line"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM new_rows AS n) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."order_id"::text)::text || ',' || to_json("n"."line"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM new_rows AS n) AS e;
                END IF;
            ELSIF attempt = 1 AND TG_OP = 'UPDATE' THEN
        PERFORM FROM new_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'order_items', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'update' AS op, CASE WHEN "n"."order_id" IS NULL THEN ('[' || to_json("o"."order_id"::text)::text || ',' || to_json("o"."line"::text)::text || ']') ELSE ('[' || to_json("n"."order_id"::text)::text || ',' || to_json("n"."line"::text)::text || ']') END
                               AS key,
                           CASE WHEN "o"."order_id" IS NULL OR "n"."order_id" IS NULL THEN array_remove(ARRAY['order_id', 'line']::text[], NULL)::text ELSE array_remove(ARRAY[CASE WHEN ROW("o"."order_id")::record OPERATOR(pg_catalog.*<>) ROW("n"."order_id")::record THEN 'order_id' END, CASE WHEN ROW("o"."line")::record OPERATOR(pg_catalog.*<>) ROW("n"."line")::record THEN 'line' END, CASE WHEN ROW("o"."quantity")::record OPERATOR(pg_catalog.*<>) ROW("n"."quantity")::record THEN 'quantity' END]::text[], NULL)::text END
                               AS changed,
                           CASE WHEN "o"."order_id" IS NULL THEN NULL WHEN "n"."order_id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS old,
                           CASE WHEN "n"."order_id" IS NULL THEN NULL WHEN "o"."order_id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS new
                    FROM old_rows AS o FULL JOIN new_rows AS n ON "o"."order_id" = "n"."order_id" AND "o"."line" = "n"."line"
                    WHERE "o"."order_id" IS NULL OR "n"."order_id" IS NULL OR o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'update' AS op, v.key, array_remove(ARRAY[CASE WHEN ROW("o"."order_id")::record OPERATOR(pg_catalog.*<>) ROW("n"."order_id")::record THEN 'order_id' END, CASE WHEN ROW("o"."line")::record OPERATOR(pg_catalog.*<>) ROW("n"."line")::record THEN 'line' END, CASE WHEN ROW("o"."quantity")::record OPERATOR(pg_catalog.*<>) ROW("n"."quantity")::record THEN 'quantity' END]::text[], NULL)::text AS changed, NULL::jsonb AS old,
                           NULL::jsonb AS new
                    FROM old_rows AS o CROSS JOIN new_rows AS n
                    CROSS JOIN LATERAL (SELECT ('[' || to_json("n"."order_id"::text)::text || ',' || to_json("n"."line"::text)::text || ']') UNION SELECT ('[' || to_json("o"."order_id"::text)::text || ',' || to_json("o"."line"::text)::text || ']')) AS v(key)
                    WHERE o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'update' AS op, CASE WHEN "n"."order_id" IS NULL THEN ('[' || to_json("o"."order_id"::text)::text || ',' || to_json("o"."line"::text)::text || ']') ELSE ('[' || to_json("n"."order_id"::text)::text || ',' || to_json("n"."line"::text)::text || ']') END
                               AS key,
                           CASE WHEN "o"."order_id" IS NULL OR "n"."order_id" IS NULL THEN array_remove(ARRAY['order_id', 'line']::text[], NULL)::text ELSE array_remove(ARRAY[CASE WHEN ROW("o"."order_id")::record OPERATOR(pg_catalog.*<>) ROW("n"."order_id")::record THEN 'order_id' END, CASE WHEN ROW("o"."line")::record OPERATOR(pg_catalog.*<>) ROW("n"."line")::record THEN 'line' END, CASE WHEN ROW("o"."quantity")::record OPERATOR(pg_catalog.*<>) ROW("n"."quantity")::record THEN 'quantity' END]::text[], NULL)::text END
                               AS changed,
                           CASE WHEN "o"."order_id" IS NULL THEN NULL WHEN "n"."order_id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS old,
                           CASE WHEN "n"."order_id" IS NULL THEN NULL WHEN "o"."order_id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS new
                    FROM old_rows AS o FULL JOIN new_rows AS n ON "o"."order_id" = "n"."order_id" AND "o"."line" = "n"."line"
                    WHERE "o"."order_id" IS NULL OR "n"."order_id" IS NULL OR o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                END IF;
            ELSIF attempt = 1 AND TG_OP = 'DELETE' THEN
        PERFORM FROM old_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'order_items', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."order_id"::text)::text || ',' || to_json("o"."line"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."order_id"::text)::text || ',' || to_json("o"."line"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."order_id"::text)::text || ',' || to_json("o"."line"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                END IF;
            ELSIF attempt = 2 AND TG_OP = 'INSERT' THEN
        PERFORM FROM new_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'order_items', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."order_id"::text)::text || ',' || to_json("n"."line"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM new_rows AS n) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."order_id"::text)::text || ',' || to_json("n"."line"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM new_rows AS n) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."order_id"::text)::text || ',' || to_json("n"."line"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM new_rows AS n) AS e;
                END IF;
            ELSIF attempt = 2 AND TG_OP = 'UPDATE' THEN
        PERFORM FROM new_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'order_items', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'update' AS op, CASE WHEN "n"."order_id" IS NULL THEN ('[' || to_json("o"."order_id"::text)::text || ',' || to_json("o"."line"::text)::text || ']') ELSE ('[' || to_json("n"."order_id"::text)::text || ',' || to_json("n"."line"::text)::text || ']') END
                               AS key,
                           CASE WHEN "o"."order_id" IS NULL OR "n"."order_id" IS NULL THEN NULL::text ELSE NULL::text END
                               AS changed,
                           CASE WHEN "o"."order_id" IS NULL THEN NULL WHEN "n"."order_id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS old,
                           CASE WHEN "n"."order_id" IS NULL THEN NULL WHEN "o"."order_id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS new
                    FROM old_rows AS o FULL JOIN new_rows AS n ON "o"."order_id" = "n"."order_id" AND "o"."line" = "n"."line"
                    WHERE "o"."order_id" IS NULL OR "n"."order_id" IS NULL OR o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'update' AS op, v.key, NULL::text AS changed, NULL::jsonb AS old,
                           NULL::jsonb AS new
                    FROM old_rows AS o CROSS JOIN new_rows AS n
                    CROSS JOIN LATERAL (SELECT ('[' || to_json("n"."order_id"::text)::text || ',' || to_json("n"."line"::text)::text || ']') UNION SELECT ('[' || to_json("o"."order_id"::text)::text || ',' || to_json("o"."line"::text)::text || ']')) AS v(key)
                    WHERE o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'update' AS op, CASE WHEN "n"."order_id" IS NULL THEN ('[' || to_json("o"."order_id"::text)::text || ',' || to_json("o"."line"::text)::text || ']') ELSE ('[' || to_json("n"."order_id"::text)::text || ',' || to_json("n"."line"::text)::text || ']') END
                               AS key,
                           CASE WHEN "o"."order_id" IS NULL OR "n"."order_id" IS NULL THEN NULL::text ELSE NULL::text END
                               AS changed,
                           CASE WHEN "o"."order_id" IS NULL THEN NULL WHEN "n"."order_id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS old,
                           CASE WHEN "n"."order_id" IS NULL THEN NULL WHEN "o"."order_id" IS NULL THEN NULL::jsonb
                                ELSE NULL::jsonb END AS new
                    FROM old_rows AS o FULL JOIN new_rows AS n ON "o"."order_id" = "n"."order_id" AND "o"."line" = "n"."line"
                    WHERE "o"."order_id" IS NULL OR "n"."order_id" IS NULL OR o.* OPERATOR(pg_catalog.*<>) n.*) AS e;
                END IF;
            ELSIF attempt = 2 AND TG_OP = 'DELETE' THEN
        PERFORM FROM old_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
                IF touched > 1000 THEN
                INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
                SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'order_items', e.op, CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END, e.changed::text[], e.old, e.new, fault
                FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."order_id"::text)::text || ',' || to_json("o"."line"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                ELSIF touched = 1 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."order_id"::text)::text || ',' || to_json("o"."line"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                ELSIF touched > 0 THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."order_id"::text)::text || ',' || to_json("o"."line"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM old_rows AS o) AS e;
                END IF;
            
            END IF;
            EXIT;
        EXCEPTION WHEN OTHERS THEN
            fault := coalesce(fault, SQLSTATE);
            ops := NULL; keys := NULL; changes := NULL; olds := NULL; news := NULL;
        END;
    END LOOP;
    IF ops IS NOT NULL THEN
        INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
        SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'order_items', k.op, k.key, k.changed::text[], k.old, k.new, fault
        FROM unnest(ops, keys, changes, olds, news) AS k(op, key, changed, old, new);
    END IF;
    RETURN NULL;
END
$audit_488576babd2b$;
COMMENT ON FUNCTION "rowcast"."audit_488576babd2b"() IS 'rowcast: {"format": 2, "table": "order_items", "sha256": "c51479c817c4d18e14d318f0e7c12a8a1127e295d4a5ec620daaf8afcb854af2", "asks": "c2d3faf512200dfc"}';
REVOKE ALL ON FUNCTION "rowcast"."audit_488576babd2b"() FROM PUBLIC;
CREATE TRIGGER "rowcast_audit_insert_488576babd2b" AFTER INSERT ON "public"."order_items" REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."audit_488576babd2b"();
CREATE TRIGGER "rowcast_audit_update_488576babd2b" AFTER UPDATE ON "public"."order_items" REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."audit_488576babd2b"();
CREATE TRIGGER "rowcast_audit_delete_488576babd2b" AFTER DELETE ON "public"."order_items" REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."audit_488576babd2b"();
CREATE TRIGGER "rowcast_audit_truncate_488576babd2b" AFTER TRUNCATE ON "public"."order_items"
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."audit_488576babd2b"();
COMMIT;

BEGIN;
SET LOCAL lock_timeout = '500ms';
CREATE OR REPLACE FUNCTION "rowcast"."capture_db53519bd516"() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $capture_db53519bd516$
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    touched bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM pg_notify('rowcast', CASE WHEN octet_length(e.entry) <= 2600
            THEN '{"t":"products","o":"' || e.operation || '","k":[' || e.entry || ']}'
            ELSE '{"t":"products","o":"*"' || '}' END)
        FROM (SELECT 'i' AS operation, ('[' || to_json("n"."code"::text)::text || ']') AS entry FROM (SELECT NEW.*) AS n) AS e;
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM pg_notify('rowcast', CASE WHEN octet_length(e.entry) <= 2600
            THEN '{"t":"products","o":"' || e.operation || '","k":[' || e.entry || ']}'
            ELSE '{"t":"products","o":"*"' || '}' END)
        FROM (
                SELECT 'u' AS operation, ('[' || to_json("n"."code"::text)::text || ']') AS entry FROM (SELECT OLD.*) AS o, (SELECT NEW.*) AS n
                WHERE ("o"."code"::text) COLLATE "C" = ("n"."code"::text) COLLATE "C" AND OLD OPERATOR(pg_catalog.*<>) NEW) AS e;
        IF NOT (FOUND) THEN
        PERFORM pg_notify('rowcast', CASE WHEN octet_length(e.entry) <= 2600
            THEN '{"t":"products","o":"' || e.operation || '","k":[' || e.entry || ']}'
            ELSE '{"t":"products","o":"*"' || '}' END)
        FROM (
            SELECT 'd' AS operation, ('[' || to_json("o"."code"::text)::text || ']') AS entry FROM (SELECT OLD.*) AS o
            WHERE NOT EXISTS (SELECT FROM (SELECT NEW.*) AS n WHERE ("o"."code"::text) COLLATE "C" = ("n"."code"::text) COLLATE "C")
            UNION ALL
            SELECT 'i', ('[' || to_json("n"."code"::text)::text || ']') FROM (SELECT NEW.*) AS n
            WHERE NOT EXISTS (SELECT FROM (SELECT OLD.*) AS o WHERE ("o"."code"::text) COLLATE "C" = ("n"."code"::text) COLLATE "C")) AS e;
        END IF;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM pg_notify('rowcast', CASE WHEN octet_length(e.entry) <= 2600
            THEN '{"t":"products","o":"' || e.operation || '","k":[' || e.entry || ']}'
            ELSE '{"t":"products","o":"*"' || '}' END)
        FROM (SELECT 'd' AS operation, ('[' || to_json("o"."code"::text)::text || ']') AS entry FROM (SELECT OLD.*) AS o) AS e;
    ELSE
        PERFORM pg_notify('rowcast', '{"t":"products","o":"*"' || '}');
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    BEGIN
        PERFORM pg_notify('rowcast', '{"t":"products","o":"*"' || ',"e":"' || SQLSTATE || '"}');
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'rowcast: a change of % was not announced: %', TG_RELID::regclass, SQLERRM;
    END;
    RETURN NULL;
END
$capture_db53519bd516$;
COMMENT ON FUNCTION "rowcast"."capture_db53519bd516"() IS 'rowcast: {"format": 2, "table": "products", "sha256": "e844c78b50da9ae1e92a9f50946a6d5d3f1a6b172f83c67c1c3a0103529f3528", "asks": "dc1e5221d2a08747"}';
CREATE TRIGGER "rowcast_insert_db53519bd516" AFTER INSERT ON "shop"."Product list"
FOR EACH ROW EXECUTE FUNCTION "rowcast"."capture_db53519bd516"();
ALTER TABLE "shop"."Product list" ENABLE ALWAYS TRIGGER "rowcast_insert_db53519bd516";
CREATE TRIGGER "rowcast_update_db53519bd516" AFTER UPDATE ON "shop"."Product list"
FOR EACH ROW EXECUTE FUNCTION "rowcast"."capture_db53519bd516"();
ALTER TABLE "shop"."Product list" ENABLE ALWAYS TRIGGER "rowcast_update_db53519bd516";
CREATE TRIGGER "rowcast_delete_db53519bd516" AFTER DELETE ON "shop"."Product list"
FOR EACH ROW EXECUTE FUNCTION "rowcast"."capture_db53519bd516"();
ALTER TABLE "shop"."Product list" ENABLE ALWAYS TRIGGER "rowcast_delete_db53519bd516";
CREATE TRIGGER "rowcast_truncate_db53519bd516" AFTER TRUNCATE ON "shop"."Product list"
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."capture_db53519bd516"();
ALTER TABLE "shop"."Product list" ENABLE ALWAYS TRIGGER "rowcast_truncate_db53519bd516";
COMMIT;

BEGIN;
SET LOCAL lock_timeout = '500ms';
CREATE OR REPLACE FUNCTION "rowcast"."audit_db53519bd516"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET "DateStyle" = 'ISO, YMD'
SET "IntervalStyle" = 'postgres'
SET "TimeZone" = 'UTC'
SET "bytea_output" = 'hex'
SET "extra_float_digits" = '1'
SET "lc_monetary" = 'C'
AS $audit_db53519bd516$
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    touched bigint;
    ops text[];
    keys text[];
    changes text[];
    olds jsonb[];
    news jsonb[];
    fault text;
BEGIN
    IF to_regclass('"rowcast"."audit"') IS NULL THEN
        RETURN NULL;
    END IF;
    FOR attempt IN 1..3 + 1 LOOP
        BEGIN
            IF TG_OP = 'TRUNCATE' OR attempt > 3 THEN
                ops := ARRAY[lower(TG_OP)];
                keys := ARRAY[CASE WHEN attempt > 3 THEN '*' END];
            ELSIF attempt = 1 AND TG_OP = 'INSERT' THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."code"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, (jsonb_build_object('code', to_jsonb("n"."code"), 'price', to_jsonb("n"."price"))) AS new FROM (SELECT NEW.*) AS n) AS e;
            ELSIF attempt = 1 AND TG_OP = 'UPDATE' THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'update' AS op, v.key, array_remove(ARRAY[CASE WHEN ROW("o"."code")::record OPERATOR(pg_catalog.*<>) ROW("n"."code")::record THEN 'code' END, CASE WHEN ROW("o"."price")::record OPERATOR(pg_catalog.*<>) ROW("n"."price")::record THEN 'price' END]::text[], NULL)::text AS changed, (CASE WHEN ROW("o"."code")::record OPERATOR(pg_catalog.*<>) ROW("n"."code")::record THEN jsonb_build_object('code', to_jsonb("o"."code")) ELSE '{}' END || CASE WHEN ROW("o"."price")::record OPERATOR(pg_catalog.*<>) ROW("n"."price")::record THEN jsonb_build_object('price', to_jsonb("o"."price")) ELSE '{}' END) AS old,
                           (CASE WHEN ROW("o"."code")::record OPERATOR(pg_catalog.*<>) ROW("n"."code")::record THEN jsonb_build_object('code', to_jsonb("n"."code")) ELSE '{}' END || CASE WHEN ROW("o"."price")::record OPERATOR(pg_catalog.*<>) ROW("n"."price")::record THEN jsonb_build_object('price', to_jsonb("n"."price")) ELSE '{}' END) AS new
                    FROM (SELECT OLD.*) AS o CROSS JOIN (SELECT NEW.*) AS n
                    CROSS JOIN LATERAL (SELECT ('[' || to_json("n"."code"::text)::text || ']') UNION SELECT ('[' || to_json("o"."code"::text)::text || ']')) AS v(key)
                    WHERE OLD OPERATOR(pg_catalog.*<>) NEW) AS e;
            ELSIF attempt = 1 AND TG_OP = 'DELETE' THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."code"::text)::text || ']') AS key, NULL::text AS changed,
                           (jsonb_build_object('code', to_jsonb("o"."code"), 'price', to_jsonb("o"."price"))) AS old, NULL::jsonb AS new FROM (SELECT OLD.*) AS o) AS e;
            ELSIF attempt = 2 AND TG_OP = 'INSERT' THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."code"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM (SELECT NEW.*) AS n) AS e;
            ELSIF attempt = 2 AND TG_OP = 'UPDATE' THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'update' AS op, v.key, array_remove(ARRAY[CASE WHEN ROW("o"."code")::record OPERATOR(pg_catalog.*<>) ROW("n"."code")::record THEN 'code' END, CASE WHEN ROW("o"."price")::record OPERATOR(pg_catalog.*<>) ROW("n"."price")::record THEN 'price' END]::text[], NULL)::text AS changed, NULL::jsonb AS old,
                           NULL::jsonb AS new
                    FROM (SELECT OLD.*) AS o CROSS JOIN (SELECT NEW.*) AS n
                    CROSS JOIN LATERAL (SELECT ('[' || to_json("n"."code"::text)::text || ']') UNION SELECT ('[' || to_json("o"."code"::text)::text || ']')) AS v(key)
                    WHERE OLD OPERATOR(pg_catalog.*<>) NEW) AS e;
            ELSIF attempt = 2 AND TG_OP = 'DELETE' THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."code"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM (SELECT OLD.*) AS o) AS e;
            ELSIF attempt = 3 AND TG_OP = 'INSERT' THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'insert' AS op, ('[' || to_json("n"."code"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM (SELECT NEW.*) AS n) AS e;
            ELSIF attempt = 3 AND TG_OP = 'UPDATE' THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'update' AS op, v.key, NULL::text AS changed, NULL::jsonb AS old,
                           NULL::jsonb AS new
                    FROM (SELECT OLD.*) AS o CROSS JOIN (SELECT NEW.*) AS n
                    CROSS JOIN LATERAL (SELECT ('[' || to_json("n"."code"::text)::text || ']') UNION SELECT ('[' || to_json("o"."code"::text)::text || ']')) AS v(key)
                    WHERE OLD OPERATOR(pg_catalog.*<>) NEW) AS e;
            ELSIF attempt = 3 AND TG_OP = 'DELETE' THEN
                SELECT array_agg(e.op), array_agg(CASE WHEN octet_length(e.key) <= 2300 THEN e.key WHEN e.key <> '' THEN '*' END), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM (
                    SELECT 'delete' AS op, ('[' || to_json("o"."code"::text)::text || ']') AS key, NULL::text AS changed,
                           NULL::jsonb AS old, NULL::jsonb AS new FROM (SELECT OLD.*) AS o) AS e;
            
            END IF;
            EXIT;
        EXCEPTION WHEN OTHERS THEN
            fault := coalesce(fault, SQLSTATE);
            ops := NULL; keys := NULL; changes := NULL; olds := NULL; news := NULL;
        END;
    END LOOP;
    IF ops IS NOT NULL THEN
        INSERT INTO "rowcast"."audit" (slot, source, op, key, changed, old, new, fault)
        SELECT (SELECT (last_value % 8)::int FROM "rowcast"."audit_slot"), 'products', k.op, k.key, k.changed::text[], k.old, k.new, fault
        FROM unnest(ops, keys, changes, olds, news) AS k(op, key, changed, old, new);
    END IF;
    RETURN NULL;
END
$audit_db53519bd516$;
COMMENT ON FUNCTION "rowcast"."audit_db53519bd516"() IS 'rowcast: {"format": 2, "table": "products", "sha256": "0978f3280aea903230e0c19e1ab4277984724a08801fd449493373f46eea40ae", "asks": "cee22926539cd0dc"}';
REVOKE ALL ON FUNCTION "rowcast"."audit_db53519bd516"() FROM PUBLIC;
CREATE TRIGGER "rowcast_audit_insert_db53519bd516" AFTER INSERT ON "shop"."Product list"
FOR EACH ROW EXECUTE FUNCTION "rowcast"."audit_db53519bd516"();
ALTER TABLE "shop"."Product list" ENABLE ALWAYS TRIGGER "rowcast_audit_insert_db53519bd516";
CREATE TRIGGER "rowcast_audit_update_db53519bd516" AFTER UPDATE ON "shop"."Product list"
FOR EACH ROW EXECUTE FUNCTION "rowcast"."audit_db53519bd516"();
ALTER TABLE "shop"."Product list" ENABLE ALWAYS TRIGGER "rowcast_audit_update_db53519bd516";
CREATE TRIGGER "rowcast_audit_delete_db53519bd516" AFTER DELETE ON "shop"."Product list"
FOR EACH ROW EXECUTE FUNCTION "rowcast"."audit_db53519bd516"();
ALTER TABLE "shop"."Product list" ENABLE ALWAYS TRIGGER "rowcast_audit_delete_db53519bd516";
CREATE TRIGGER "rowcast_audit_truncate_db53519bd516" AFTER TRUNCATE ON "shop"."Product list"
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."audit_db53519bd516"();
ALTER TABLE "shop"."Product list" ENABLE ALWAYS TRIGGER "rowcast_audit_truncate_db53519bd516";
COMMIT;

BEGIN;
SET LOCAL lock_timeout = '500ms';
CREATE OR REPLACE FUNCTION "rowcast"."capture_b64548dc9bd2"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET "DateStyle" = 'ISO, YMD'
SET "IntervalStyle" = 'postgres'
SET "TimeZone" = 'UTC'
SET "bytea_output" = 'hex'
SET "extra_float_digits" = '1'
SET "lc_monetary" = 'C'
AS $capture_b64548dc9bd2$
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    kept text[];
BEGIN
    BEGIN
        kept := ARRAY(
            SELECT CASE WHEN octet_length(e.entry) <= 2300 THEN e.entry ELSE '*' END
            FROM (SELECT ('[' || to_json("n"."id"::text)::text || ']') AS entry, "n"."id" AS position FROM (SELECT * FROM new_rows AS "payments" WHERE (amount > 0
)) AS n) AS e
            ORDER BY e.position);
    EXCEPTION WHEN OTHERS THEN
        kept := ARRAY['*'];
    END;
    IF kept <> '{}' AND to_regclass('"rowcast"."log"') IS NOT NULL THEN
        INSERT INTO "rowcast"."log" (slot, source, key)
        SELECT (SELECT (last_value % 8)::int FROM "rowcast"."log_slot"), 'payments', k.entry
        FROM unnest(kept) WITH ORDINALITY AS k(entry, n) ORDER BY k.n;
        -- Where transactions may be prepared, the bridge looks by itself: one that has
        -- notified cannot be.
        IF current_setting('max_prepared_transactions') = '0' THEN
            PERFORM pg_notify('rowcast', '{"ring": "log"}');
        END IF;
    END IF;
    RETURN NULL;
END
$capture_b64548dc9bd2$;
COMMENT ON FUNCTION "rowcast"."capture_b64548dc9bd2"() IS 'rowcast: {"format": 2, "table": "payments", "sha256": "6747d2aec496c189777258dc103138d5719b46c70eb92db2b187f064802f2461", "asks": "08eff17b984c5a48", "where": "amount > 0"}';
REVOKE ALL ON FUNCTION "rowcast"."capture_b64548dc9bd2"() FROM PUBLIC;
CREATE TRIGGER "rowcast_insert_b64548dc9bd2" AFTER INSERT ON "public"."payments" REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."capture_b64548dc9bd2"();
COMMIT;

BEGIN;
SET LOCAL lock_timeout = '500ms';
CREATE OR REPLACE FUNCTION "rowcast"."capture_5f3be46f165d"() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
SET "DateStyle" = 'ISO, YMD'
SET "IntervalStyle" = 'postgres'
SET "TimeZone" = 'UTC'
SET "bytea_output" = 'hex'
SET "extra_float_digits" = '1'
SET "lc_monetary" = 'C'
AS $capture_5f3be46f165d$
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    touched bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM FROM new_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched = 1 THEN
            PERFORM pg_notify('rowcast', '{"t":"notes","o":"' || e.operation || '","k":[' || e.entry || ']}')
            FROM (SELECT 'i' AS operation, ('[' || to_json("n"."tag"::text)::text || ']') AS entry FROM new_rows AS n) AS e
            WHERE octet_length(e.entry) <= 2600;
            IF FOUND THEN RETURN NULL; END IF;
        END IF;
        IF touched > 1000 THEN
        PERFORM pg_notify('rowcast', '{"t":"notes","o":"*"' || '}');
        ELSIF touched > 0 THEN
            PERFORM pg_notify('rowcast', CASE
                WHEN bool_and(coalesce(octet_length(p.entry) <= 2600, false))
                THEN '{"t":"notes","o":"' || p.operation || '","k":[' || string_agg(p.entry, ',') || ']}'
                ELSE '{"t":"notes","o":"*"' || '}' END)
            FROM (
                SELECT e.operation, e.entry, sum(octet_length(e.entry) + 1) OVER (
                    PARTITION BY e.operation ROWS UNBOUNDED PRECEDING) / 5267 AS page
                FROM (SELECT 'i' AS operation, ('[' || to_json("n"."tag"::text)::text || ']') AS entry FROM new_rows AS n) AS e
            ) AS p
            GROUP BY p.operation, p.page;
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM FROM new_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched = 1 THEN
            PERFORM pg_notify('rowcast', '{"t":"notes","o":"' || e.operation || '","k":[' || e.entry || ']}')
            FROM (
                SELECT 'u' AS operation, ('[' || to_json("n"."tag"::text)::text || ']') AS entry FROM old_rows AS o, new_rows AS n
                WHERE ("o"."tag"::text) COLLATE "C" = ("n"."tag"::text) COLLATE "C" AND o.* OPERATOR(pg_catalog.*<>) n.*) AS e
            WHERE octet_length(e.entry) <= 2600;
            IF FOUND THEN RETURN NULL; END IF;
        END IF;
        IF touched > 1000 THEN
        PERFORM pg_notify('rowcast', '{"t":"notes","o":"*"' || '}');
        ELSIF touched > 0 THEN
            PERFORM pg_notify('rowcast', CASE
                WHEN bool_and(coalesce(octet_length(p.entry) <= 2600, false))
                THEN '{"t":"notes","o":"' || p.operation || '","k":[' || string_agg(p.entry, ',') || ']}'
                ELSE '{"t":"notes","o":"*"' || '}' END)
            FROM (
                SELECT e.operation, e.entry, sum(octet_length(e.entry) + 1) OVER (
                    PARTITION BY e.operation ROWS UNBOUNDED PRECEDING) / 5267 AS page
                FROM (
                    SELECT CASE WHEN "o"."tag" IS NULL THEN 'i' WHEN "n"."tag" IS NULL THEN 'd' ELSE 'u' END
                               AS operation,
                           CASE WHEN "o"."tag" IS NULL THEN ('[' || to_json("n"."tag"::text)::text || ']') WHEN "n"."tag" IS NULL THEN ('[' || to_json("o"."tag"::text)::text || ']') ELSE ('[' || to_json("n"."tag"::text)::text || ']') END
                               AS entry
                    FROM old_rows AS o FULL JOIN new_rows AS n ON ("o"."tag"::text) COLLATE "C" = ("n"."tag"::text) COLLATE "C"
                    WHERE "o"."tag" IS NULL OR "n"."tag" IS NULL OR o.* OPERATOR(pg_catalog.*<>) n.*) AS e
            ) AS p
            GROUP BY p.operation, p.page;
        END IF;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM FROM old_rows AS r LIMIT 1000 + 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched = 1 THEN
            PERFORM pg_notify('rowcast', '{"t":"notes","o":"' || e.operation || '","k":[' || e.entry || ']}')
            FROM (SELECT 'd' AS operation, ('[' || to_json("o"."tag"::text)::text || ']') AS entry FROM old_rows AS o) AS e
            WHERE octet_length(e.entry) <= 2600;
            IF FOUND THEN RETURN NULL; END IF;
        END IF;
        IF touched > 1000 THEN
        PERFORM pg_notify('rowcast', '{"t":"notes","o":"*"' || '}');
        ELSIF touched > 0 THEN
            PERFORM pg_notify('rowcast', CASE
                WHEN bool_and(coalesce(octet_length(p.entry) <= 2600, false))
                THEN '{"t":"notes","o":"' || p.operation || '","k":[' || string_agg(p.entry, ',') || ']}'
                ELSE '{"t":"notes","o":"*"' || '}' END)
            FROM (
                SELECT e.operation, e.entry, sum(octet_length(e.entry) + 1) OVER (
                    PARTITION BY e.operation ROWS UNBOUNDED PRECEDING) / 5267 AS page
                FROM (SELECT 'd' AS operation, ('[' || to_json("o"."tag"::text)::text || ']') AS entry FROM old_rows AS o) AS e
            ) AS p
            GROUP BY p.operation, p.page;
        END IF;
    ELSE
        PERFORM pg_notify('rowcast', '{"t":"notes","o":"*"' || '}');
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    BEGIN
        PERFORM pg_notify('rowcast', '{"t":"notes","o":"*"' || ',"e":"' || SQLSTATE || '"}');
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'rowcast: a change of % was not announced: %', TG_RELID::regclass, SQLERRM;
    END;
    RETURN NULL;
END
$capture_5f3be46f165d$;
COMMENT ON FUNCTION "rowcast"."capture_5f3be46f165d"() IS 'rowcast: {"format": 2, "table": "notes", "sha256": "e05b65bd9d2555340e0cf2869bc50b56a3bacfc63a2e9f057e3bedf5451dec02", "asks": "0cdeb9e78d3b6e0f"}';
CREATE TRIGGER "rowcast_insert_5f3be46f165d" AFTER INSERT ON "public"."notes" REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."capture_5f3be46f165d"();
CREATE TRIGGER "rowcast_update_5f3be46f165d" AFTER UPDATE ON "public"."notes" REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."capture_5f3be46f165d"();
CREATE TRIGGER "rowcast_delete_5f3be46f165d" AFTER DELETE ON "public"."notes" REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."capture_5f3be46f165d"();
CREATE TRIGGER "rowcast_truncate_5f3be46f165d" AFTER TRUNCATE ON "public"."notes"
FOR EACH STATEMENT EXECUTE FUNCTION "rowcast"."capture_5f3be46f165d"();
COMMIT;


