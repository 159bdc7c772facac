// SPDX-License-Identifier: Apache-2.0

#include "messages/caf_support.hpp"

#include "messages/actors.hpp"

namespace muster {

caf::error to_caf(const failure& x) {
  return {static_cast<std::uint8_t>(x.code), error_category,
          caf::make_message(x.message)};
}

caf::error make_error(errc code, std::string message) {
  return to_caf({code, std::move(message)});
}

failure from_caf(const caf::error& x) {
  if (x.category() == error_category) {
    auto code = static_cast<errc>(x.code());
    auto& context = x.context();
    if (context.match_elements<std::string>())
      return {code, context.get_as<std::string>(0)};
    return {code, std::string{describe(code).meaning}};
  }
  if (x == caf::sec::request_timeout)
    return {errc::timeout, "the node did not answer in time"};
  if (x == caf::sec::request_receiver_down
      || x == caf::exit_reason::remote_link_unreachable)
    return {errc::connection_lost,
            "the connection to the node broke before it answered"};
  return {errc::internal, caf::to_string(x)};
}

void add_message_types(caf::actor_system_config& config) {
  config.add_message_type<session_kind>("muster::session_kind")
    .add_message_type<session_spec>("muster::session_spec")
    .add_message_type<token_usage>("muster::token_usage")
    .add_message_type<query>("muster::query")
    .add_message_type<answer>("muster::answer")
    .add_message_type<std::vector<answer>>("std::vector<muster::answer>")
    .add_message_type<feed_mode>("muster::feed_mode")
    .add_message_type<wait_for>("muster::wait_for")
    .add_message_type<cancel_reason>("muster::cancel_reason")
    .add_message_type<session_phase>("muster::session_phase")
    .add_message_type<session_view>("muster::session_view")
    .add_message_type<feed_reply>("muster::feed_reply")
    .add_message_type<session_list_request>("muster::session_list_request")
    .add_message_type<session_summary>("muster::session_summary")
    .add_message_type<session_page>("muster::session_page")
    .add_message_type<snapshot_options>("muster::snapshot_options")
    .add_message_type<observed_event>("muster::observed_event")
    .add_message_type<log_line>("muster::log_line")
    .add_message_type<std::vector<log_line>>("std::vector<muster::log_line>")
    .add_message_type<state_key>("muster::state_key")
    .add_message_type<state_value>("muster::state_value")
    .add_message_type<state_entry>("muster::state_entry")
    .add_message_type<std::vector<state_entry>>(
      "std::vector<muster::state_entry>")
    .add_message_type<state_space>("muster::state_space")
    .add_message_type<std::vector<state_space>>(
      "std::vector<muster::state_space>")
    .add_message_type<worker_view>("muster::worker_view")
    .add_message_type<std::vector<worker_view>>(
      "std::vector<muster::worker_view>")
    .add_message_type<pool_stop_reply>("muster::pool_stop_reply")
    .add_message_type<worker_lease>("muster::worker_lease")
    .add_message_type<pod_order>("muster::pod_order")
    .add_message_type<std::vector<pod_order>>("std::vector<muster::pod_order>")
    .add_message_type<pod_view>("muster::pod_view")
    .add_message_type<std::vector<pod_view>>("std::vector<muster::pod_view>")
    .add_message_type<pod_read>("muster::pod_read")
    .add_message_type<pod_output>("muster::pod_output")
    .add_message_type<pod_stop_reply>("muster::pod_stop_reply")
    .add_message_type<scope_listing>("muster::scope_listing")
    .add_message_type<std::vector<scope_holder>>(
      "std::vector<muster::scope_holder>")
    .add_message_type<slot_group_definition>("muster::slot_group_definition")
    .add_message_type<slot_group_view>("muster::slot_group_view")
    .add_message_type<std::vector<slot_group_view>>(
      "std::vector<muster::slot_group_view>")
    .add_message_type<handler_definition>("muster::handler_definition")
    .add_message_type<std::vector<handler_view>>(
      "std::vector<muster::handler_view>")
    .add_message_type<recovery_pass>("muster::recovery_pass")
    .add_message_type<recovery_handler_actor>("muster::recovery_handler_actor")
    .add_message_type<std::vector<std::uint8_t>>("std::vector<uint8_t>")
    .add_message_type<slot_id>("muster::slot_id")
    .add_message_type<slot_occupant>("muster::slot_occupant")
    .add_message_type<std::vector<slot_occupant>>(
      "std::vector<muster::slot_occupant>")
    .add_message_type<slot_event>("muster::slot_event")
    .add_message_type<commit_request>("muster::commit_request")
    .add_message_type<commit_ack>("muster::commit_ack")
    .add_message_type<receipt>("muster::receipt")
    .add_message_type<stored_session>("muster::stored_session")
    .add_message_type<scan_request>("muster::scan_request")
    .add_message_type<scan_page>("muster::scan_page")
    .add_message_type<observer_actor>("muster::observer_actor")
    .add_message_type<node_actor>("muster::node_actor");
  config.add_error_category(
    error_category,
    [](std::uint8_t code, caf::atom_value, const caf::message& context) {
      auto text = to_string(static_cast<errc>(code));
      if (context.match_elements<std::string>())
        text += ": " + context.get_as<std::string>(0);
      return text;
    });
}

} // namespace muster
