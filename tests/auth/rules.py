"""The rules of security, and which tests fail without them.

``R`` are those of the resource server, ``A`` those of the authorization server, ``T`` those that
keep tenants apart. Each test is "file::name"; it fails when the rule is taken out of the code.
"""

from typing import Final

RESOURCE_SERVER: Final[dict[str, tuple[str, ...]]] = {
    "R1 one Authorization header, and nowhere else": (
        "test_bearer.py::test_r1_no_header_at_all",
        "test_bearer.py::test_r1_other_places_do_not_count",
        "test_bearer.py::test_r1_two_headers",
        "test_bearer.py::test_r1_a_token_in_the_query",
        "../server/test_access.py::test_a_token_in_the_query_is_400",
    ),
    "R2 challenges": (
        "test_bearer.py::test_r2_challenge",
        "../server/test_access.py::test_no_token_is_401_without_an_error_attribute",
        "../server/test_access.py::test_a_bad_token_is_401_invalid_token",
        "../server/test_access.py::test_a_missing_scope_is_403_and_named",
    ),
    "R3 issuers come from the table, and nothing that a token names is fetched": (
        "test_tokens.py::test_r3_r9_unknown_issuers",
        "test_tokens.py::test_r3_no_key_source_is_asked_for_an_unknown_issuer",
        "test_tokens.py::test_r3_each_issuer_has_its_own_keys",
        "test_authenticator.py::test_r3_nothing_that_a_token_names_is_fetched",
    ),
    "R4 algorithms": (
        "test_tokens.py::test_r4_other_algorithms",
        "test_tokens.py::test_r4_public_keys_are_no_hmac_secrets",
        "test_tokens.py::test_r4_rows_cannot_allow_more",
        "test_tokens.py::test_r4_keys_made_for_something_else",
        "test_tokens.py::test_r4_the_signature_must_be_that_keys",
        "test_authenticator.py::test_every_algorithm",
        "test_authenticator.py::test_r4_a_fetched_key_is_no_hmac_secret",
        "test_jwks.py::test_r4_what_no_algorithm_takes_is_not_kept",
    ),
    "R5 headers that want to be obeyed": (
        "test_tokens.py::test_r5_headers_that_want_to_be_obeyed",
        "test_tokens.py::test_r5_a_key_in_the_header_is_not_used",
    ),
    "R6 strength of keys": (
        "test_tokens.py::test_r6_a_short_rsa_key",
        "test_jwks.py::test_r6_a_short_rsa_key_is_not_kept",
        "test_authenticator.py::test_r6_a_set_with_a_short_key_only_is_401",
    ),
    "R7 kid": (
        "test_tokens.py::test_r7_kid_is_a_short_string",
        "test_tokens.py::test_r7_kid_is_only_looked_up",
        "test_tokens.py::test_r7_no_kid_only_where_there_is_no_choice",
    ),
    "R8 typ": (
        "test_tokens.py::test_r8_named",
        "test_tokens.py::test_r8_loose_is_not_anything",
        "test_tokens.py::test_r8_id_and_logout_tokens_of_a_loose_issuer",
        "test_authenticator.py::test_the_options_of_a_row_arrive",
    ),
    "R9 iss, aud and the claims that must be there": (
        "test_tokens.py::test_r9_audience",
        "test_tokens.py::test_r9_required_strings",
        "test_tokens.py::test_r9_required_times",
        "test_tokens.py::test_r9_azp_does_not_repair_a_bad_client_id",
    ),
    "R10 times": (
        "test_tokens.py::test_r10_times_are_numbers",
        "test_tokens.py::test_r10_time",
        "test_tokens.py::test_r10_the_longest_lifetime_is_the_rows",
        "test_tokens.py::test_a_remembered_token_still_expires",
        "test_authenticator.py::test_r10_the_leeway_is_the_issuers",
        "test_authenticator.py::test_r10_a_leeway_has_bounds",
    ),
    "R11 parsing": (
        "test_tokens.py::test_r11_duplicate_claims",
        "test_tokens.py::test_r11_duplicate_header_names",
        "test_tokens.py::test_r11_nesting",
    ),
    "R12 scope": (
        "test_tokens.py::test_r12_scope_is_split_on_spaces",
        "test_tokens.py::test_r12_scope_is_a_string",
        "test_tokens.py::test_r12_scp_only_where_configured",
        "../core/test_principals.py::test_r12_scope_is_exact_membership",
    ),
    "R13 bound tokens": ("test_tokens.py::test_r13_bound_tokens",),
    "R14 revocation": (
        "test_authenticator.py::test_r14_a_revoked_token_is_refused_although_it_was_verified_before",
        "../server/oauth/test_revoke.py::test_r14_another_worker_knows_within_five_seconds",
        "../server/oauth/test_revoke.py::test_r14_a_worker_that_starts_knows_at_once",
        "../server/oauth/test_revoke.py::test_r14_revocation_is_by_what_a_token_says",
        "../server/oauth/test_revoke.py::test_r14_a_list_that_is_too_old_lets_nobody_pass",
    ),
    "R15 expiry during a stream": (
        "test_expiry.py::test_r15_a_stream_outlives_its_token_and_all_else_needs_a_valid_one",
    ),
    "R15 the suspension of a tenant": (
        "../server/test_isolation.py::test_r15_a_suspended_tenant_is_refused_and_its_streams_end",
    ),
    "tenants: an issuer acts for those it is bound to": (
        "test_tokens.py::test_a_bound_issuer_cannot_act_for_others",
        "test_authenticator.py::test_an_issuer_bound_to_one_tenant_cannot_act_for_another",
        "test_introspection.py::test_an_issuer_bound_to_one_tenant_cannot_act_for_another",
    ),
    "key sets: fresh for ten minutes, fetched in the background": (
        "test_jwks_cache.py::test_the_background_fetches_at_once_and_again_after_ten_minutes",
        "test_jwks_cache.py::test_the_background_runs_by_itself",
        "test_authenticator.py::test_a_warm_cache_answers_without_suspending",
    ),
    "key sets: stale ones serve for a day": (
        "test_jwks_cache.py::test_a_failed_fetch_keeps_the_old_keys_for_a_day",
        "test_authenticator.py::test_an_endpoint_that_is_down_does_not_matter_for_a_day",
    ),
    "key sets: unknown kids cost one fetch in 30 s, whatever comes of it": (
        "test_jwks_cache.py::test_unknown_keys_bring_one_fetch_in_30_seconds",
        "test_jwks_cache.py::test_all_who_wait_share_one_fetch",
        "test_authenticator.py::test_500_unknown_keys_cost_two_fetches_at_most",
    ),
    "key sets: 5 s": (
        "test_http_fetch.py::test_a_slow_body_ends_with_the_total",
        "test_http_fetch.py::test_a_slow_resolver_ends_with_the_total",
        "test_jwks_cache.py::test_a_fetch_does_not_last_for_ever",
        "test_authenticator.py::test_a_poisoned_set_does_not_replace_a_good_one",
    ),
    "key sets: 256 KiB": (
        "test_jwks.py::test_at_most_256_kib",
        "test_http_fetch.py::test_a_document_has_a_largest_size",
    ),
    "key sets: 50 keys": ("test_jwks.py::test_at_most_fifty_keys",),
    "key sets: https, or http on an explicit loopback address": (
        "test_addresses.py::test_urls_that_are_not_fetched",
        "test_http_fetch.py::test_other_addresses_are_not_even_looked_up",
        "test_key_set_location.py::test_metadata_that_is_not_believed",
    ),
    "key sets: no redirects": (
        "test_http_fetch.py::test_only_200_is_an_answer_and_no_redirect_is_followed",
        "test_authenticator.py::test_a_poisoned_set_does_not_replace_a_good_one",
    ),
    "key sets: imported one by one": (
        "test_jwks.py::test_a_malformed_key_is_skipped_and_the_good_ones_beside_it_stay",
        "test_authenticator.py::test_a_bad_key_among_good_ones_is_survived",
    ),
    "key sets: a successful fetch drops removed keys": (
        "test_jwks_cache.py::test_a_successful_fetch_drops_removed_keys",
        "test_authenticator.py::test_a_removed_key_dies",
        "test_authenticator.py::test_a_rotated_key_is_found_without_a_restart",
    ),
    "key sets: none at all is 503": (
        "test_jwks_cache.py::test_no_keys_at_all_is_503_with_a_time_to_come_back",
        "test_authenticator.py::test_no_keys_at_all_is_503_and_not_the_tokens_fault",
    ),
    "outbound: every address of a name is judged, once": (
        "test_addresses.py::test_addresses_that_a_name_must_not_lead_to",
        "test_addresses.py::test_other_spellings_of_loopback_are_names",
        "test_http_fetch.py::test_a_name_that_leads_inside_is_not_connected_to",
        "test_http_fetch.py::test_a_name_is_resolved_once_and_its_next_address_is_tried",
        "test_http_fetch.py::test_the_connection_goes_to_an_address_that_was_judged",
    ),
    "outbound: the connection keeps the name": (
        "test_http_fetch.py::test_the_certificate_must_be_that_of_the_configured_name",
    ),
    "outbound: no proxy of the environment, no compression": (
        "test_http_fetch.py::test_no_proxy_of_the_environment_is_used",
        "test_http_fetch.py::test_a_compressed_document_is_not_unpacked",
    ),
    "introspection: authenticated": (
        "test_introspection.py::test_an_active_token_gives_its_principal",
        "test_http_fetch.py::test_a_form_is_sent_with_its_credentials",
    ),
    "introspection: remembered for min(exp, 60 s) under a hash": (
        "test_introspection.py::test_an_answer_is_remembered_for_a_minute",
        "test_introspection.py::test_an_answer_is_not_remembered_beyond_the_expiry",
        "test_introspection.py::test_no_token_is_kept",
    ),
    "introspection: all claims are checked": (
        "test_introspection.py::test_every_claim_of_the_answer_is_checked",
        "test_introspection.py::test_an_expired_token_is_refused_even_if_called_active",
    ),
    "introspection: fails closed": (
        "test_introspection.py::test_without_a_clear_answer_it_is_503_and_asked_again",
        "test_authenticator.py::test_introspection_that_is_down_fails_closed",
    ),
    "introspection: a token is shown to one issuer only": (
        "test_authenticator.py::test_an_opaque_token_is_shown_to_the_selected_tenants_issuer_only",
        "test_authenticator.py::test_a_tenant_has_one_introspecting_issuer",
    ),
}  # fmt: skip


AUTHORIZATION_SERVER: Final[dict[str, tuple[str, ...]]] = {
    "A1 PKCE with S256 for every client": (
        "test_authorization_request.py::test_a1_pkce_with_s256_is_required",
        "test_authorization_request.py::test_a1_an_exempted_client_that_uses_pkce_uses_s256",
        "test_authorization_request.py::test_a1_a_public_client_cannot_be_exempted",
        "test_pkce.py::test_a1_malformed_verifiers_prove_nothing_even_if_they_hash_right",
        "test_pkce.py::test_a1_a_challenge_is_a_sha_256_in_base64url",
        "../server/oauth/test_codes.py::test_a1_the_verifier_of_another_flow_is_refused",
        "../server/oauth/test_codes.py::test_a1_a_malformed_verifier_is_refused",
        "../server/oauth/test_codes.py::test_a1_an_exempted_client_needs_no_verifier_and_may_not_send_one",
    ),
    "A2 redirect URIs": (
        "test_redirects.py::test_a2_nothing_else_matches",
        "test_redirects.py::test_a2_on_a_loopback_address_the_port_may_differ",
        "test_redirects.py::test_a2_what_no_browser_would_take_cannot_be_registered",
        "../server/oauth/test_codes.py::test_a2_the_redirect_is_compared_again",
    ),
    "A3 the client and its redirect first": (
        "test_authorization_request.py::test_a3_a_foreign_redirect_is_never_followed",
        "test_authorization_request.py::test_a3_an_unknown_client_is_never_answered",
        "test_authorization_request.py::test_a3_who_asks_and_where_the_answer_goes_may_be_said_once",
        "test_authorization_request.py::test_a3_what_cannot_be_read_is_never_answered",
        "../server/oauth/test_authorize.py::test_a3_an_error_is_shown_and_goes_nowhere",
        "../server/oauth/test_authorize.py::test_a3_the_request_is_checked_again_with_each_form",
    ),
    "A4 codes": (
        "../server/oauth/test_codes.py::test_a4_a_code_belongs_to_its_client",
        "../server/oauth/test_codes.py::test_a4_a_code_lives_for_a_minute",
        "../server/oauth/test_codes.py::test_a4_nothing_that_was_handed_out_is_in_the_database",
    ),
    "A5 a code is used once": (
        "../server/oauth/test_codes.py::test_a5_of_fifty_at_once_one_is_served_and_then_all_is_revoked",
        "../server/oauth/test_codes.py::test_a5_a_replay_kills_what_the_code_was_redeemed_for",
    ),
    "A6 iss and state": (
        "test_authorization_request.py::test_a6_state_comes_back_byte_for_byte",
        "test_redirects.py::test_a6_parameters_arrive_as_they_were",
        "../server/oauth/test_codes.py::test_a6_the_answer_names_its_issuer",
    ),
    "A7 one way of client authentication": (
        "test_token_endpoint.py::test_a7_basic_parts_are_form_decoded",
        "test_token_endpoint.py::test_a7_two_methods",
        "test_token_endpoint.py::test_a7_secret_and_assertion",
        "test_token_endpoint.py::test_a7_two_authorization_headers",
        "test_token_endpoint.py::test_a7_basic_as_one_client_and_body_as_another",
        "../server/oauth/test_codes.py::test_a7_the_client_that_authenticates_is_the_one_that_counts",
    ),
    "A8 client secrets": (
        "test_clients.py::test_a8_the_secret_has_256_bits_and_is_stored_as_a_hash",
        "test_clients.py::test_a8_an_unknown_client_costs_a_comparison",
        "test_token_endpoint.py::test_a8_a_secret_is_always_compared",
        "test_token_endpoint.py::test_a8_unknown_client_and_wrong_secret_look_alike",
        "../server/oauth/test_administration.py::test_a8_a_client_is_stored_without_its_secret",
    ),
    "A9 refresh tokens": (
        "../server/oauth/test_refresh.py::test_a9_each_use_gives_a_new_token_of_the_same_grant",
        "../server/oauth/test_refresh.py::test_a9_scopes_only_shrink",
        "../server/oauth/test_refresh.py::test_a9_what_was_taken_from_the_user_is_gone_at_the_next_use",
        "../server/oauth/test_refresh.py::test_a9_a_token_belongs_to_its_client",
        "../server/oauth/test_refresh.py::test_a9_a_token_that_is_not_used_for_a_week_dies",
        "../server/oauth/test_refresh.py::test_a9_a_grant_ends_after_thirty_days",
    ),
    "A10 reuse, and grace": (
        "../server/oauth/test_refresh.py::test_a10_a_lost_answer_is_given_again",
        "../server/oauth/test_refresh.py::test_a10_a_token_whose_successor_was_used_ends_the_grant",
        "../server/oauth/test_refresh.py::test_a10_a_grandparent_within_the_grace_ends_the_grant",
        "../server/oauth/test_refresh.py::test_a10_after_ten_seconds_a_used_token_ends_the_grant",
        "../server/oauth/test_refresh.py::test_a10_the_grace_ends_with_the_use_of_the_successor",
        "../server/oauth/test_refresh.py::test_a10_the_grace_is_for_the_same_client",
        "../server/oauth/test_refresh.py::test_a10_of_twenty_at_once_all_get_the_one_successor",
        "../server/oauth/test_refresh.py::test_a10_the_kept_answer_is_encrypted_and_erased",
    ),
    "A11 the token endpoint takes one form": (
        "test_token_endpoint.py::test_a11_duplicates",
        "test_token_endpoint.py::test_a11_a_duplicate_may_not_hide_behind_emptiness",
        "test_token_endpoint.py::test_a11_nothing_from_the_query",
        "test_token_endpoint.py::test_a11_form_only",
        "test_token_endpoint.py::test_a16_a_client_gets_a_token_for_itself",
        "../server/oauth/test_authorize.py::test_other_methods_are_refused",
    ),
    "A12 login and consent belong to one browser": (
        "test_sessions.py::test_a12_the_cookie_is_for_this_host_and_no_script",
        "test_sessions.py::test_a12_of_two_cookies_none_counts",
        "test_sessions.py::test_a12_the_csrf_token_belongs_to_one_session",
        "../server/oauth/test_authorize.py::test_a12_the_session_changes_at_login",
        "../server/oauth/test_authorize.py::test_a12_a_former_login_ends_with_the_next",
        "../server/oauth/test_authorize.py::test_a12_over_https_the_cookie_is_bound_to_the_host",
        "../server/oauth/test_authorize.py::test_a12_a_form_needs_the_token_of_its_session",
        "../server/oauth/test_authorize.py::test_a12_another_session_cannot_approve",
        "../server/oauth/test_authorize.py::test_a12_what_is_approved_is_what_was_asked",
        "../server/oauth/test_authorize.py::test_a12_a_question_can_be_answered_for_ten_minutes",
        "../server/oauth/test_authorize.py::test_a12_consent_is_remembered_for_the_same_and_asked_for_more",
        "../server/oauth/test_authorize.py::test_a12_consent_is_asked_again_for_a_new_tenant",
        "../server/oauth/test_authorize.py::test_a_person_logs_in_agrees_and_goes_back",
    ),
    "A13 pages are not cached, framed or told to others": (
        "../server/oauth/test_authorize.py::test_a13_no_page_is_cached_framed_or_told_to_others",
        "../server/oauth/test_authorize.py::test_a13_the_style_is_our_own",
        "../server/oauth/test_browser.py::test_a13_login_and_consent_in_a_browser",
    ),
    "A14 logins are limited, and look alike": (
        "test_passwords.py::test_a14_the_default_is_argon2id_with_the_cost_of_rfc_9106",
        "test_passwords.py::test_a14_an_unknown_user_costs_as_much_as_a_known_one",
        "../server/oauth/test_authorize.py::test_a14_all_wrong_logins_look_alike",
        "../server/oauth/test_authorize.py::test_a14_an_unknown_account_costs_a_hash_like_a_known_one",
        "../server/oauth/test_authorize.py::test_a14_twenty_wrong_passwords_are_too_many",
        "../server/oauth/test_authorize.py::test_a14_an_account_is_throttled_whatever_the_address",
        "../server/oauth/test_authorize.py::test_a14_an_address_is_throttled_whatever_the_account",
    ),
    "A15 revocation": (
        "../server/oauth/test_revoke.py::test_a15_an_access_token_is_revoked_by_itself",
        "../server/oauth/test_revoke.py::test_a15_a_refresh_token_ends_its_whole_family",
        "../server/oauth/test_revoke.py::test_a15_an_unknown_token_is_as_good_as_revoked",
        "../server/oauth/test_revoke.py::test_a15_another_clients_token_stays",
        "../server/oauth/test_revoke.py::test_a15_the_client_must_authenticate",
    ),
    "A16 client_credentials": (
        "test_token_endpoint.py::test_a16_a_client_gets_a_token_for_itself",
        "test_token_endpoint.py::test_a16_public_clients_are_refused",
        "test_token_endpoint.py::test_a16_other_scopes_are_refused",
        "test_token_endpoint.py::test_a16_tenants_come_from_the_registration",
    ),
    "A17 resource": (
        "test_token_endpoint.py::test_a17_resource",
        "test_authorization_request.py::test_a17_the_resource_is_this_server",
        "../server/oauth/test_codes.py::test_a17_the_resource_is_that_of_the_code",
    ),
    "A18 what must not start, and the first administrator": (
        "test_metadata.py::test_a18_http_is_for_this_machine",
        "test_metadata.py::test_other_addresses_are_refused",
        "test_users.py::test_a18_a_password_that_can_be_guessed_is_refused",
        "../server/oauth/test_administration.py::test_a18_the_first_start_makes_one_admin_with_a_random_password",
        "../server/oauth/test_administration.py::test_a18_passwords_differ",
        "../server/oauth/test_stored_keys.py::test_a18_without_the_master_key_nothing_starts",
        "../server/oauth/test_authorize.py::test_a18_a_password_chosen_by_another_must_be_changed",
        "../server/oauth/test_authorize.py::test_a18_until_then_nothing_can_be_approved",
        "../e2e/test_start.py::test_a18_a_start_that_would_not_be_safe_is_refused",
        "../e2e/test_start.py::test_a18_the_first_administrator_is_shown_once",
        "../e2e/test_start.py::test_a18_without_the_right_master_key_nothing_starts",
    ),
}  # fmt: skip

TENANTS: Final[dict[str, tuple[str, ...]]] = {
    "T1 X-Tenant is one decimal number": (
        "test_tenants.py::test_everything_else_is_400",
        "test_tenants.py::test_exactly_one_header",
        "../server/test_access.py::test_a_malformed_tenant_is_400",
        "../server/test_access.py::test_a_missing_tenant_is_400_where_it_is_needed",
    ),
    "T2 the header selects, the token authorises": (
        "../server/test_access.py::test_a_token_of_another_tenant_is_403",
        "../server/test_access.py::test_what_is_public_is_known_here_too",
        "../server/test_access.py::test_an_unknown_tenant_is_refused_like_a_foreign_one",
        "../server/test_tenancy.py::test_who_may_not_pass_is_refused_as_the_table_says",
        "test_tokens.py::test_a_bound_issuer_cannot_act_for_others",
        "../server/test_external_issuers.py::test_a_token_starts_a_stream_of_a_bound_tenant_only",
        "../e2e/test_start.py::test_without_any_issuer_nothing_starts",
    ),
    "T3 every query has the tenant": (
        "../storage/test_tenants.py::test_the_server_sees_all_and_a_caller_its_own",
        "../storage/test_credentials.py::test_a_caller_has_its_own_keys_only",
        "../storage/test_audit.py::test_a_caller_sees_its_tenants_events_only",
        "../storage/test_audit.py::test_a_caller_cannot_add_to_anothers_log",
        "../storage/test_reports.py::test_sums_are_those_of_the_callers_tenant",
        "../storage/test_postgresql.py::test_a_statement_that_forgot_its_tenant_finds_only_the_callers_rows",
        "../storage/test_postgresql.py::test_a_tenant_does_not_stick_to_a_connection",
        "../storage/test_postgresql.py::test_every_table_with_a_tenant_is_protected",
    ),
    "T4 ids are random, and a foreign one is unknown": (
        "../core/test_ids.py::test_a_stream_id_is_128_bits_of_the_entropy",
        "../server/test_tenancy.py::test_a_foreign_stream_is_as_unknown_as_none",
        "../server/test_tenancy.py::test_a_stranger_cancels_nothing",
        "../server/test_tenancy.py::test_410_is_for_the_owner",
        "../server/test_tenancy.py::test_usage_and_models_are_those_of_the_tenant",
        "../storage/test_streams_index.py::test_a_stream_is_known_to_its_subject_and_to_who_may_see_all",
    ),
    "T5 the tenant is part of every key": (
        "../eventlog/test_redis_keys.py::test_every_key_of_a_stream_names_its_tenant",
        "../limits/test_redis.py::test_every_key_belongs_to_a_tenant_and_dies_by_itself",
        "../server/test_isolation.py::test_an_idempotency_key_belongs_to_its_tenant_and_subject",
    ),
    "T6 credentials of providers are the tenant's own": (
        "../storage/test_credentials.py::test_a_row_that_is_copied_to_another_tenant_or_provider_does_not_decrypt",
        "../server/test_isolation.py::test_a_tenants_own_key_is_used_for_it_alone",
        "../streams/test_breaker.py::test_what_a_tenant_is_answered_stops_only_that_tenant",
        "../server/test_isolation.py::test_a_refused_key_of_one_tenant_does_not_stop_another",
    ),
    "T7 nothing in a body chooses more than it may": (
        "../server/test_request_rules.py::test_a_bad_body_is_refused_without_an_echo",
        "../server/test_isolation.py::test_t7_unknown_keys_are_refused_at_every_level",
    ),
    "T8 metrics name no caller": (
        "../telemetry/test_metrics.py::test_no_label_can_name_a_caller",
        "../telemetry/test_metrics.py::test_every_label_has_a_closed_set",
        "../telemetry/test_metrics.py::test_values_from_outside_become_other",
        "../server/test_isolation.py::test_t8_there_are_no_metrics_on_the_api",
    ),
    "T9 the caller's token goes nowhere": (
        "../server/test_isolation.py::test_t9_the_callers_token_is_not_sent_to_the_provider",
    ),
    "T10 nothing of one tenant reaches another": (
        "../server/test_isolation.py::test_t10_marked_streams_of_two_tenants_never_cross",
    ),
}  # fmt: skip

RULES: Final = RESOURCE_SERVER | AUTHORIZATION_SERVER | TENANTS
