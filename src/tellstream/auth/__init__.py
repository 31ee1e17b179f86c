"""Who is calling, and what may they do: access tokens, tenants, clients, the token endpoint.

Everything here works on plain values (raw headers, raw bodies, a given ``now``) and answers with
values or ``RequestError``. No web framework and no network: the shell in ``server/`` carries both.
"""
