from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("gatewaypay", "0003_money_after_the_payment"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Home",
            fields=[],
            options={
                "verbose_name": "overview",
                "verbose_name_plural": "Payments: overview",
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("gatewaypay.transaction",),
        ),
        migrations.RemoveIndex(
            model_name="transaction",
            name="gatewaypay_reference",
        ),
        migrations.RemoveIndex(
            model_name="transaction",
            name="gatewaypay_payment",
        ),
        migrations.AddIndex(
            model_name="callback",
            index=models.Index(
                condition=models.Q(("state__in", ["dead", "received", "unmatched"])),
                fields=["state", "received_at"],
                name="gatewaypay_inbox_open",
            ),
        ),
        migrations.AddIndex(
            model_name="fulfilment",
            index=models.Index(
                condition=models.Q(("state__in", ["dead", "owed"])), fields=["state"], name="gatewaypay_outbox_open"
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(fields=["gateway_reference", "gateway"], name="gatewaypay_reference"),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("payment_reference", ""), _negated=True),
                fields=["payment_reference", "gateway"],
                name="gatewaypay_payment",
            ),
        ),
    ]
