// Of the floor actors/, for the suites of comm/.
#include "tests/comm/implementations.hpp"
#include "tests/links/message_links.hpp"

namespace collie::test {
namespace {

// So short that tests cut theirs.
MessageLinkOptions short_messages() {
  MessageLinkOptions options;
  options.most_bytes = 16 * 1024;
  return options;
}

}  // namespace

std::vector<Implementation> implementations() {
  const auto over = [](auto make) {
    return [make](int size) { return make_linked_groups(make(size, short_messages()).links); };
  };
  return {{"linked over messages", over(make_local_message_links)},
          {"linked over TLS", over(make_tls_message_links), 8}};
}

std::vector<LinkKind> link_kinds() {
  return {{"messages", [](int size) { return make_local_message_links(size).links; }},
          {"TLS", [](int size) { return make_tls_message_links(size).links; }}};
}

}  // namespace collie::test
