"""Small models of tables that are kept without pickle."""
