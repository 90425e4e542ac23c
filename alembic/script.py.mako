<%!
def block(statement):
    """A statement as Python text that reads as it will run."""
    text = statement.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return '    """' + "\\\n" + text + "\n" + '""",'
%><%
frozen = config.attributes.get("frozen")
%>"""${message.replace("\\", "/").replace('"', "'")}

Revision: ${up_revision}
Follows: ${down_revision | comma,n}
"""

from __future__ import annotations

from alembic import op
% if not frozen:
${imports if imports else ""}
% endif

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

% if frozen:
# Whoever waits for a lock makes every later writer wait behind it.
PATIENCE = "SET LOCAL lock_timeout = '500ms'"

UPGRADE = (
% for statement in frozen["upgrade"]:
${block(statement)}
% endfor
)

DOWNGRADE = (
% for statement in frozen["downgrade"]:
${block(statement)}
% endfor
)


def upgrade() -> None:
    run(PATIENCE, *UPGRADE)


def downgrade() -> None:
    run(PATIENCE, *DOWNGRADE)


def run(*statements: str) -> None:
    for statement in statements:
        op.execute(statement.replace(":", r"\:"))  # Alembic takes :name for a parameter
% else:

def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
% endif
