"""The mutants that may live, each with the reason: nobody could notice, or a second guard does the same."""

# ruff: noqa: E501 - a change is quoted as it is

__all__ = ["REVIEWED"]

#: By module, function and change, as the report names them.
REVIEWED: dict[str, str] = {
    'money.py : PLAIN_DECIMAL = re.compile(r"-?[0-9]{1,15}(\\.[0-9]{1,4})?", re.ASCII)'
    ' -> PLAIN_DECIMAL = re.compile(r"-?[0-9]{1,15}(\\.[0-9]{1,4})?", )': "The pattern names its digits; the flag is a second guard.",
    "money.py parse_amount: if isinstance(text, int) and abs(text) >= 10**15:"
    " -> if isinstance(text, int) and abs(text) > 10**15:": "The pattern behind it refuses sixteen digits as well.",
    "money.py parse_amount: if isinstance(text, int) and abs(text) >= 10**15:"
    " -> if isinstance(text, int) and abs(text) >= 11**15:": "The pattern behind it refuses sixteen digits as well.",
    "money.py parse_amount: if isinstance(text, int) and abs(text) >= 10**15:"
    " -> if isinstance(text, int) and abs(text) >= 10**16:": "The pattern behind it refuses sixteen digits as well.",
    "money.py parse_amount: to_minor(money, {currency: places})"
    " -> to_minor(money, )": "The places are looked up again: the same answer, later.",
    'lifecycle/decision.py _merge_money: mismatch = ""'
    " -> mismatch = None": "It is asked for its truth, and never returned.",
    'lifecycle/decision.py decide: late_payment: str = "review",'
    ' -> late_payment: str = "XXreviewXX",': "Every word but `fulfil` and `refund` asks for a review.",
    'lifecycle/decision.py decide: late_payment: str = "review",'
    ' -> late_payment: str = "REVIEW",': "Every word but `fulfil` and `refund` asks for a review.",
    'lifecycle/decision.py _decide_foreign: return _decide_move(facts, after, target, "reference_mismatch", "review")'
    ' -> return _decide_move(facts, after, target, "reference_mismatch", None)': "Every word but `fulfil` and `refund` asks for a review.",
    'lifecycle/decision.py _decide_foreign: return _decide_move(facts, after, target, "reference_mismatch", "review")'
    ' -> return _decide_move(facts, after, target, "reference_mismatch", "XXreviewXX")': "Every word but `fulfil` and `refund` asks for a review.",
    'lifecycle/decision.py _decide_foreign: return _decide_move(facts, after, target, "reference_mismatch", "review")'
    ' -> return _decide_move(facts, after, target, "reference_mismatch", "REVIEW")': "Every word but `fulfil` and `refund` asks for a review.",
    'lifecycle/door.py _facts_of: order_paid=getattr(row, "order_paid", False),'
    ' -> order_paid=getattr(row, "order_paid", None),': "Only a success asks for it, and for a success it was read.",
    'lifecycle/door.py _facts_of: order_paid=getattr(row, "order_paid", False),'
    ' -> order_paid=getattr(row, "order_paid", True),': "Only a success asks for it, and for a success it was read.",
    'lifecycle/door.py _facts_of: paid_too=getattr(row, "paid_too", False),'
    ' -> paid_too=getattr(row, "paid_too", None),': "Only a success asks for it, and for a success it was read.",
    'lifecycle/door.py _facts_of: paid_too=getattr(row, "paid_too", False),'
    ' -> paid_too=getattr(row, "paid_too", True),': "Only a success asks for it, and for a success it was read.",
    'lifecycle/door.py _facts_of: replaced=getattr(row, "replaced", False),'
    ' -> replaced=getattr(row, "replaced", None),': "Only a success asks for it, and for a success it was read.",
    'lifecycle/door.py _facts_of: replaced=getattr(row, "replaced", False),'
    ' -> replaced=getattr(row, "replaced", True),': "Only a success asks for it, and for a success it was read.",
    "lifecycle/door.py : MAX_RACES = 60 -> MAX_RACES = 61": "Bounded is what matters, not by how many.",
    'models/statements.py : Row = TypeVar("Row", bound=models.Model) -> Row = TypeVar(None, bound=models.Model)': "A name for a type.",
    'models/statements.py : Row = TypeVar("Row", bound=models.Model) -> Row = TypeVar("Row", bound=None)': "A name for a type.",
    'models/statements.py : Row = TypeVar("Row", bound=models.Model) -> Row = TypeVar("Row", )': "A name for a type.",
    'models/statements.py : Row = TypeVar("Row", bound=models.Model) -> Row = TypeVar("XXRowXX", bound=models.Model)': "A name for a type.",
    'models/statements.py : Row = TypeVar("Row", bound=models.Model) -> Row = TypeVar("row", bound=models.Model)': "A name for a type.",
    'models/statements.py : Row = TypeVar("Row", bound=models.Model) -> Row = TypeVar("ROW", bound=models.Model)': "A name for a type.",
    "models/statements.py insert: values = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in fields]"
    " -> values = [field.get_db_prep_save(field.pre_save(row, add=None), connection) for field in fields]": "No field of ours fills itself in.",
    "models/statements.py insert: values = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in fields]"
    " -> values = [field.get_db_prep_save(field.pre_save(row, add=False), connection) for field in fields]": "No field of ours fills itself in.",
    "models/statements.py insert: returns = connection.features.can_return_columns_from_insert"
    " -> returns = None": "SQLite knows its last key either way, and the other database's run of the tests does not.",
    "models/statements.py insert: row.pk = cursor.fetchone()[0] if returns else cursor.lastrowid"
    " -> row.pk = cursor.fetchone()[0] if (returns) and False else cursor.lastrowid": "SQLite knows its last key either way, and the other database's run of the tests does not.",
    "schedule.py : CLAIM_LEASE = timedelta(seconds=60)"
    " -> CLAIM_LEASE = timedelta(seconds=61)": "A second more of a lease changes nothing that can be promised.",
    "schedule.py backoff_delay: seconds = min(first * 2 ** min(attempts, 20), ceiling.total_seconds())"
    " -> seconds = min(first * 2 ** min(attempts, 21), ceiling.total_seconds())": "Every ceiling is reached long before.",
    'dispatch.py _claim: owed = Fulfilment.objects.select_related("transaction").filter(pk=fulfilment_id, next_attempt_at__lte=now).first()'
    " -> owed = Fulfilment.objects.select_related(None).filter(pk=fulfilment_id, next_attempt_at__lte=now).first()": "It saves a query, no more.",
    "gateways/signing.py : Secrets = Sequence[str] | Callable[[], Sequence[str]]"
    " -> Secrets = None": "A name for a type.",
    'gateways/signing.py : WHOLE_SECONDS = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)'
    ' -> WHOLE_SECONDS = re.compile(r"[1-9][0-9]{0,11}", )': "The pattern names its digits; the flag is a second guard.",
    'gateways/signing.py verify_standard_webhook: sent = given.get("webhook-timestamp", "")'
    ' -> sent = given.get("webhook-timestamp", "XXXX")': "Neither is a time.",
    'gateways/signing.py _matches: offered = headers.get("webhook-signature", "").encode(errors="replace").split(b" ")'
    ' -> offered = headers.get("webhook-signature", "XXXX").encode(errors="replace").split(b" ")': "Neither is a signature.",
    "models/statements.py Select.of: f\"{sql} {'AND' if rows.query.where else 'WHERE'} {_all_of(rows.db, rows.model, where)}\","
    " -> f\"{sql} {'and' if rows.query.where else 'WHERE'} {_all_of(rows.db, rows.model, where)}\",": "SQL knows no small letters.",
    "models/statements.py Select._row: columns[place] = convert(columns[place], column, connection)"
    " -> columns[place] = convert(columns[place], None, connection)": "None of our fields' converters looks at it.",
    "models/statements.py Select._row: columns[place] = convert(columns[place], column, connection)"
    " -> columns[place] = convert(columns[place], column, None)": "None of our fields' converters looks at it.",
    "models/statements.py Select._row: row = self.model.from_db(self.using, self.columns, columns[: len(self.columns)])"
    " -> row = self.model.from_db(self.using, None, columns[: len(self.columns)])": "Every column is there, and then Django does not look at their names.",
    "models/statements.py Select._row: for name, value in zip(self.beside, columns[len(self.columns) :], strict=True):"
    " -> for name, value in zip(self.beside, columns[len(self.columns) :], strict=None):": "There are as many: one query names both.",
    "models/statements.py Select._row: for name, value in zip(self.beside, columns[len(self.columns) :], strict=True):"
    " -> for name, value in zip(self.beside, columns[len(self.columns) :], ):": "There are as many: one query names both.",
    "models/statements.py Select._row: for name, value in zip(self.beside, columns[len(self.columns) :], strict=True):"
    " -> for name, value in zip(self.beside, columns[len(self.columns) :], strict=False):": "There are as many: one query names both.",
    "models/statements.py _find: return Select.of(model._default_manager.using(using), where)"
    " -> return Select.of(model._default_manager.using(None), where)": "Without a name the manager asks the same router.",
    'models/statements.py _insert_sql: after = " ON CONFLICT DO NOTHING" * or_leave + f" RETURNING {quote(key)}" * returns'
    ' -> after = " on conflict do nothing" * or_leave + f" RETURNING {quote(key)}" * returns': "SQL knows no small letters.",
    "lifecycle/reading.py _ask: rows = Transaction.objects.using(using)"
    " -> rows = Transaction.objects.using(None)": "Without a name the manager asks the same router.",
    'lifecycle/door.py apply_update: known = None -> known = ""': "Nothing is compared: it is read once more.",
}
