"""What a database's catalog holds, to be compared before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg import Connection

# Everything a migration may leave behind. A table's relhastriggers stays true until the
# next VACUUM; that is PostgreSQL's doing, so it is left out.
FINGERPRINT = """
SELECT 'relation', n.nspname, c.relname, c.relkind::text, c.relacl::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_toast'
UNION ALL SELECT 'function', n.nspname, p.proname, p.prosrc, p.proconfig::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, tgenabled::text,
                 pg_get_triggerdef(oid) FROM pg_trigger
UNION ALL SELECT 'schema', nspname, nspacl::text, '', '' FROM pg_namespace
UNION ALL SELECT 'type', n.nspname, t.typname, '', ''
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname !~ '^pg_toast'
UNION ALL SELECT 'comment', classoid::regclass::text, description, '', '' FROM pg_description
UNION ALL SELECT 'column', a.attrelid::regclass::text, a.attname,
                 concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity),
                 concat_ws(' ', pg_get_expr(d.adbin, d.adrelid), a.attacl::text)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid >= 16384 AND a.attnum > 0 AND c.relnamespace <> 'pg_toast'::regnamespace
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), ''
FROM pg_constraint WHERE oid >= 16384
UNION ALL SELECT 'index', indexrelid::regclass::text, '', pg_get_indexdef(indexrelid), ''
FROM pg_index WHERE indexrelid >= 16384 AND indrelid::regclass::text !~ '^pg_toast'
UNION ALL SELECT 'policy', polrelid::regclass::text, polname, '', '' FROM pg_policy
UNION ALL SELECT 'default rights', defaclobjtype::text, defaclacl::text, '', '' FROM pg_default_acl
UNION ALL SELECT 'setting', setrole::text, setconfig::text, '', '' FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL SELECT 'dependencies', count(*)::text, '', '', '' FROM pg_depend
UNION ALL SELECT 'shared dependencies', count(*)::text, '', '', '' FROM pg_shdepend
"""


def fingerprint(connection: Connection) -> set[tuple[str, ...]]:
    """The catalog as rows, equal if and only if nothing was added, lost or changed."""
    return set(connection.execute(FINGERPRINT).fetchall())
