/*
 * api_table.c - every function of the public headers, so that the linker keeps
 * them for plugins though the core itself does not call all of them.  A test
 * compares with the headers.  ph_store_release is core/store's own.
 */
#include <posthouse/posthouse.h>

#include "plugin/private.h"

#define F(name) (const void *)(name)

const void *const api_exported[] = {
	/* types.h, reply.h, store.h */
	F(ph_strerror), F(ph_addr_text), F(ph_addr_is_loopback), F(ph_network_has), F(ph_post),
	F(ph_reply_code), F(ph_reply_enhanced), F(ph_reply_text),
	F(ph_content_ref), F(ph_content_unref), F(ph_content_size), F(ph_content_in_memory),
	F(ph_content_at),
	/* hook.h */
	F(ph_reject), F(ph_rejectf), F(ph_fail), F(ph_suspend), F(ph_ticket_of), F(ph_wake),
	F(ph_wake_remote), F(ph_answer), F(ph_config), F(ph_worker_data), F(ph_session_data),
	F(ph_transaction_data), F(ph_hook_of), F(ph_alloc), F(ph_client_addr), F(ph_local_addr),
	F(ph_client_hello), F(ph_client_is_esmtp), F(ph_client_is_tls), F(ph_client_login),
	F(ph_client_mechanism), F(ph_client_certificate),
	F(ph_session_id), F(ph_sender), F(ph_sender_domain), F(ph_rcpt), F(ph_rcpt_domain),
	F(ph_rcpt_count), F(ph_rcpt_at), F(ph_message_id_text), F(ph_message_size),
	F(ph_header_get), F(ph_outcome_text), F(ph_outcome_code), F(ph_admit_anonymous),
	F(ph_permit_relay), F(ph_header_add),
	/* plugin.h */
	F(ph_setup_config), F(ph_setup_instance), F(ph_complain), F(ph_warn), F(ph_on_decide),
	F(ph_on_observe), F(ph_rules_relay), F(ph_rules_admission), F(ph_log), F(ph_log_worker),
	F(ph_worker_of), F(ph_worker_config), F(ph_worker_storage), F(ph_setup_plugin_of),
	F(ph_setup_state_dir), F(ph_setup_listener), F(ph_expects_certificates),
	/* service.h */
	F(ph_now), F(ph_timer_start), F(ph_timer_stop), F(ph_watch_start), F(ph_watch_events),
	F(ph_watch_stop), F(ph_connect), F(ph_conn_write), F(ph_conn_close), F(ph_work),
	F(ph_helpers_open), F(ph_helpers_close), F(ph_lease_begin), F(ph_lease_ask),
	F(ph_lease_end), F(ph_base64_encode), F(ph_base64_decode), F(ph_wipe),
	/* provider.h */
	F(ph_expects_hop), F(ph_route_sender), F(ph_route_rcpt_count), F(ph_route_rcpt), F(ph_route_rcpt_domain),
	F(ph_route_to), F(ph_route_fail), F(ph_route_defer), F(ph_route_done), F(ph_route_ticket),
	F(ph_route_config), F(ph_route_worker_data), F(ph_provide_router), F(ph_provide_secure),
	F(ph_sasl_input), F(ph_sasl_has_initial), F(ph_sasl_output), F(ph_sasl_identity),
	F(ph_sasl_problem), F(ph_sasl_data), F(ph_sasl_config), F(ph_sasl_worker_data),
	F(ph_sasl_worker), F(ph_sasl_is_secure), F(ph_sasl_binding), F(ph_sasl_client_addr),
	F(ph_sasl_hop), F(ph_sasl_user), F(ph_sasl_prompt), F(ph_sasl_remote_name),
	F(ph_sasl_remote_port), F(ph_sasl_certificate), F(ph_sasl_offers),
	F(ph_sasl_ticket), F(ph_sasl_done), F(ph_provide_mechanism),
	F(ph_check_user), F(ph_check_password), F(ph_check_done), F(ph_check_begin),
	F(ph_provide_checker),
};
const size_t api_exported_count = sizeof api_exported / sizeof api_exported[0];
