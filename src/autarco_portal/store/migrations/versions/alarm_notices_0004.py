"""Who was told of an alarm.

Revision 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the change."""
    op.create_table(
        "alarm_notices",
        sa.Column("notice_id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=True),
        sa.Column("organisation_id", sa.Text(), nullable=True),
        sa.Column("mail_id", sa.Text(), nullable=True),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(person_id IS NULL) <> (organisation_id IS NULL)",
            name=op.f("ck_alarm_notices_to_one"),
        ),
        sa.ForeignKeyConstraint(
            ["incident_id"],
            ["alarms.incident_id"],
            name=op.f("fk_alarm_notices_incident_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["people.person_id"],
            name=op.f("fk_alarm_notices_person_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["organisations.organisation_id"],
            name=op.f("fk_alarm_notices_organisation_id"),
        ),
        sa.ForeignKeyConstraint(
            ["mail_id"],
            ["mails.mail_id"],
            name=op.f("fk_alarm_notices_mail_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("notice_id", name=op.f("pk_alarm_notices")),
        sa.UniqueConstraint(
            "incident_id",
            "step",
            "person_id",
            name=op.f("uq_alarm_notices_incident_id_step_person_id"),
        ),
        sa.UniqueConstraint(
            "incident_id",
            "step",
            "organisation_id",
            name=op.f("uq_alarm_notices_incident_id_step_organisation_id"),
        ),
    )
    with op.batch_alter_table("alarm_notices", schema=None) as batch_op:
        for column in ("incident_id", "person_id", "organisation_id", "mail_id"):
            batch_op.create_index(batch_op.f(f"ix_alarm_notices_{column}"), [column], unique=False)
