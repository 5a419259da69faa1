"""How the tour's services talk to the payment and the mail provider, as `outside.py` talks to what lies outside.

Their addresses come from the environment (`PAYMENTS_ADDRESS`, `MAIL_ADDRESS`, as `host:port`).
"""

from __future__ import annotations

from scenarios import outside

payments = outside.Service("PAYMENTS_ADDRESS")
mail = outside.Service("MAIL_ADDRESS")


async def charge(key: str, order: str, user: str, seats: list[str], amount: int) -> bool:
    """Ask for one payment: True when it went through, False when declined.  One *key* is charged at most once."""
    request = {"key": key, "order": order, "user": user, "seats": seats, "amount": amount}
    answer = await payments.ask(request, stand_in={"outcome": "approved"})
    return bool(answer["outcome"] == "approved")


async def send_mail(key: str, order: str, user: str, subject: str) -> None:
    """Send one mail.  It may arrive more than once: people forgive that."""
    await mail.ask({"key": key, "order": order, "user": user, "subject": subject}, stand_in={"sent": True})
