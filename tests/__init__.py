"""The tests. What the store tests have in common shows values when it fails, as the tests themselves do."""

import pytest

pytest.register_assert_rewrite("tests.store_contract")
