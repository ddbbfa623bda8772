from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("gatewaypay", "0005_what_staff_were_told"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("returned_minor__gt", 0), ("refunded_minor__gt", 0), _connector="OR"),
                fields=["created_at"],
                name="gatewaypay_refunded",
            ),
        ),
    ]
