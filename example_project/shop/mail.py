"""Mail, in the terminal."""

from typing import Any

from django.core.mail.backends.console import EmailBackend


class TerminalBackend(EmailBackend):
    """Shows a mail as its reader sees it. Django's own shows it as it is sent, with long links cut in pieces."""

    def write_message(self, message: Any) -> None:
        self.stream.write(f"\nTo: {', '.join(message.to)}\nSubject: {message.subject}\n\n{message.body}\n")
