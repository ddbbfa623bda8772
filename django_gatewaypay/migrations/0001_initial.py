import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Transaction",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("order_id", models.CharField(db_index=True, max_length=128, verbose_name="order")),
                ("gateway", models.CharField(max_length=64, verbose_name="gateway")),
                ("description", models.CharField(blank=True, max_length=255, verbose_name="description")),
                ("amount_minor", models.BigIntegerField(verbose_name="amount in minor units")),
                ("currency", models.CharField(max_length=3, verbose_name="currency")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("created", "created"),
                            ("pending", "pending"),
                            ("processing", "processing"),
                            ("authorized", "authorized"),
                            ("expired", "expired"),
                            ("canceled", "canceled"),
                            ("failed", "failed"),
                            ("held", "held"),
                            ("success", "success"),
                        ],
                        default="created",
                        max_length=16,
                        verbose_name="state",
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=64, verbose_name="reason")),
                ("late", models.BooleanField(default=False, verbose_name="late")),
                ("attention", models.CharField(blank=True, max_length=200, verbose_name="attention")),
                ("version", models.PositiveIntegerField(default=0)),
                ("captured_minor", models.BigIntegerField(default=0, verbose_name="captured")),
                ("authorized_minor", models.BigIntegerField(default=0, verbose_name="authorized")),
                ("refunded_minor", models.BigIntegerField(default=0, verbose_name="refunded")),
                ("gateway_reference", models.CharField(blank=True, max_length=255, verbose_name="gateway reference")),
                ("payment_reference", models.CharField(blank=True, max_length=255, verbose_name="payment reference")),
                ("next_action", models.JSONField(blank=True, null=True)),
                ("return_url", models.CharField(blank=True, max_length=2000, verbose_name="return URL")),
                ("token_hash", models.CharField(max_length=64)),
                ("owner_key", models.CharField(max_length=80)),
                ("idempotency_key", models.CharField(blank=True, max_length=255)),
                ("fingerprint", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField(db_index=True, verbose_name="created")),
                ("updated_at", models.DateTimeField(verbose_name="updated")),
                ("expires_at", models.DateTimeField(verbose_name="expires")),
                ("next_poll_at", models.DateTimeField(blank=True, null=True, verbose_name="asked again at")),
                ("poll_attempts", models.PositiveSmallIntegerField(default=0)),
                ("claimed_until", models.DateTimeField(blank=True, null=True)),
                ("refreshed_at", models.DateTimeField(blank=True, null=True)),
                ("waiting_since", models.DateTimeField(blank=True, null=True, verbose_name="shopper waits since")),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "transaction",
                "verbose_name_plural": "transactions",
                "ordering": ("-created_at",),
                "permissions": (
                    ("refresh_transaction", "Can ask the gateway about a transaction"),
                    ("expire_transaction", "Can expire a transaction"),
                ),
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Fulfilment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=160, unique=True, verbose_name="key")),
                (
                    "kind",
                    models.CharField(
                        choices=[("fulfil", "fulfil"), ("release", "release")], max_length=8, verbose_name="kind"
                    ),
                ),
                ("order_id", models.CharField(db_index=True, max_length=128, verbose_name="order")),
                (
                    "state",
                    models.CharField(
                        choices=[("owed", "owed"), ("done", "done"), ("dead", "given up")],
                        default="owed",
                        max_length=8,
                        verbose_name="state",
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0, verbose_name="attempts")),
                ("next_attempt_at", models.DateTimeField(blank=True, null=True, verbose_name="next attempt")),
                ("last_error", models.CharField(blank=True, max_length=255, verbose_name="last error")),
                ("created_at", models.DateTimeField(verbose_name="created")),
                ("done_at", models.DateTimeField(blank=True, null=True, verbose_name="done")),
                (
                    "transaction",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="fulfilments",
                        to="gatewaypay.transaction",
                    ),
                ),
            ],
            options={
                "verbose_name": "fulfilment",
                "verbose_name_plural": "fulfilments",
                "ordering": ("-id",),
                "permissions": (("retry_fulfilment", "Can retry a fulfilment"),),
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Callback",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("gateway", models.CharField(max_length=64, verbose_name="gateway")),
                ("event_id", models.CharField(max_length=255, verbose_name="event")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("received", "received"),
                            ("unmatched", "unmatched"),
                            ("processed", "processed"),
                            ("dead", "given up"),
                        ],
                        default="received",
                        max_length=16,
                        verbose_name="state",
                    ),
                ),
                ("transaction_ref", models.CharField(blank=True, max_length=255, verbose_name="names transaction")),
                ("gateway_reference", models.CharField(blank=True, max_length=255, verbose_name="gateway reference")),
                ("update", models.JSONField(verbose_name="content")),
                ("body_sha256", models.CharField(max_length=64)),
                ("received_at", models.DateTimeField(db_index=True, verbose_name="received")),
                ("processed_at", models.DateTimeField(blank=True, null=True, verbose_name="processed")),
                ("attempts", models.PositiveSmallIntegerField(default=0, verbose_name="attempts")),
                ("next_attempt_at", models.DateTimeField(blank=True, null=True, verbose_name="next attempt")),
                ("last_error", models.CharField(blank=True, max_length=255, verbose_name="last error")),
                (
                    "transaction",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="callbacks",
                        to="gatewaypay.transaction",
                    ),
                ),
            ],
            options={
                "verbose_name": "callback",
                "verbose_name_plural": "callbacks",
                "ordering": ("-received_at",),
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="TransactionEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("moved", "moved"), ("amended", "amended"), ("noted", "noted")], max_length=8
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                ("from_state", models.CharField(blank=True, max_length=16)),
                ("to_state", models.CharField(max_length=16)),
                ("reason", models.CharField(blank=True, max_length=64)),
                ("late", models.BooleanField(default=False)),
                ("attention", models.CharField(blank=True, max_length=200)),
                ("captured_minor", models.BigIntegerField(default=0)),
                ("authorized_minor", models.BigIntegerField(default=0)),
                ("refunded_minor", models.BigIntegerField(default=0)),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("initiate", "initiate"),
                            ("callback", "callback"),
                            ("poll", "poll"),
                            ("return", "return"),
                            ("expiry", "expiry"),
                            ("cancel", "cancel"),
                            ("staff", "staff"),
                            ("system", "system"),
                        ],
                        max_length=16,
                    ),
                ),
                ("evidence", models.JSONField(default=dict)),
                ("note", models.CharField(blank=True, max_length=255)),
                ("created_at", models.DateTimeField()),
                (
                    "actor",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "callback",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="gatewaypay.callback",
                    ),
                ),
                (
                    "transaction",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="events", to="gatewaypay.transaction"
                    ),
                ),
            ],
            options={
                "verbose_name": "transaction event",
                "verbose_name_plural": "transaction events",
                "ordering": ("id",),
                "default_permissions": ("view",),
            },
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("next_poll_at__isnull", False)), fields=["next_poll_at"], name="gatewaypay_due"
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("state__in", ["created", "pending"])),
                fields=["expires_at"],
                name="gatewaypay_overdue",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("attention", ""), _negated=True), fields=["created_at"], name="gatewaypay_attention"
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(fields=["gateway", "gateway_reference"], name="gatewaypay_reference"),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("payment_reference", ""), _negated=True),
                fields=["gateway", "payment_reference"],
                name="gatewaypay_payment",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(fields=["state", "created_at"], name="gatewaypay_state"),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_minor__gt", 0)), name="gatewaypay_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        [
                            "created",
                            "pending",
                            "processing",
                            "authorized",
                            "expired",
                            "canceled",
                            "failed",
                            "held",
                            "success",
                        ],
                    )
                ),
                name="gatewaypay_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["authorized", "created", "pending", "processing"])),
                fields=("gateway", "order_id"),
                name="gatewaypay_one_open_per_order",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.UniqueConstraint(
                condition=models.Q(("idempotency_key", ""), _negated=True),
                fields=("owner_key", "idempotency_key"),
                name="gatewaypay_idempotency_key",
            ),
        ),
        migrations.AddIndex(
            model_name="fulfilment",
            index=models.Index(
                condition=models.Q(("next_attempt_at__isnull", False)),
                fields=["next_attempt_at"],
                name="gatewaypay_outbox_due",
            ),
        ),
        migrations.AddIndex(
            model_name="callback",
            index=models.Index(
                condition=models.Q(("next_attempt_at__isnull", False)),
                fields=["next_attempt_at"],
                name="gatewaypay_inbox_due",
            ),
        ),
        migrations.AddIndex(
            model_name="callback",
            index=models.Index(
                condition=models.Q(("state", "unmatched")),
                fields=["gateway", "gateway_reference"],
                name="gatewaypay_unmatched",
            ),
        ),
        migrations.AddConstraint(
            model_name="callback",
            constraint=models.UniqueConstraint(fields=("gateway", "event_id"), name="gatewaypay_event_once"),
        ),
        migrations.AddConstraint(
            model_name="transactionevent",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind__in", ["moved", "amended"])),
                fields=("transaction", "version"),
                name="gatewaypay_one_event_per_version",
            ),
        ),
    ]
