"""A host whose users are not Django's."""
