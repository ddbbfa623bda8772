"""A user with an e-mail address, a UUID and nothing else that Django's own has."""

import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class Person(AbstractBaseUser):
    """Somebody."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    objects = BaseUserManager()
    USERNAME_FIELD = "email"

    class Meta:
        app_label = "people"

    def __str__(self) -> str:
        return self.email
