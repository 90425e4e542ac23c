"""the epoch

A read's version is (epoch, transactions completed). The second part goes back when
PostgreSQL recovers from a crash, so each (re)connect raises the first.

Revision: 0001
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE epoch (
            epoch bigint NOT NULL,
            one boolean PRIMARY KEY DEFAULT true CHECK (one)
        )
        """
    )
    op.execute(
        """
        COMMENT ON TABLE epoch IS 'Raised at every connect, so that versions never go back.'
            ' rowcast: {"schema": 1, "since": 1}'
        """
    )
    op.execute("INSERT INTO epoch (epoch) VALUES (0)")


def downgrade() -> None:
    op.execute("DROP TABLE epoch")
