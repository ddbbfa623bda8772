from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("gatewaypay", "0004_lists_of_a_million"),
    ]

    operations = [
        migrations.AddField(
            model_name="transaction",
            name="attention_told",
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("attention", models.F("attention_told")), _negated=True),
                fields=["updated_at"],
                name="gatewaypay_untold",
            ),
        ),
    ]
