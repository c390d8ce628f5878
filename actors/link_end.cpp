#include "actors/link_end.hpp"

#include <algorithm>

#include "actors/actor_of.hpp"

namespace collie {
namespace {

using LinkPtr = std::shared_ptr<MessageLink>;

struct LinkEndState {
  const char* name = "link_end";
  LinkPtr link;
  std::vector<caf::actor> ends;  // [ranks]
};
using LinkEndActor = caf::stateful_actor<LinkEndState>;

// An end whose rank is done announces that itself, after all its other messages.
void somebody_is_down(LinkEndActor* self, const caf::down_msg& down) {
  if (down.reason == caf::exit_reason::user_shutdown || down.reason == caf::exit_reason::normal) return;
  const auto& ends = self->state.ends;
  const auto found = std::find_if(ends.begin(), ends.end(),
                                  [&](const auto& end) { return end && end.address() == down.source; });
  if (found == ends.end()) return;
  self->state.link->lost(static_cast<int>(found - ends.begin()), self->system().render(down.reason));
}

caf::behavior link_end_behaviour(LinkEndActor* self) {
  self->set_default_handler(caf::skip);
  self->set_down_handler([=](const caf::down_msg& down) { somebody_is_down(self, down); });
  return {
      [=](open_atom, const LinkPtr& link, const std::vector<caf::actor>& ends) {
        self->state.link = link;
        self->state.ends = ends;
        for (const auto& end : ends)
          if (end) self->monitor(end);
        self->become([=](const LinkMessage& message) { self->state.link->hear(message); });
      },
  };
}

}  // namespace

caf::actor spawn_link_end(caf::actor_system& system) {
  return system.spawn<ActorOf<LinkEndState, link_end_behaviour>>();
}

std::shared_ptr<comm::ByteLink> open_message_link(const std::vector<caf::actor>& ends,
                                                  MessageLinkOptions options) {
  const auto own = ends.at(static_cast<size_t>(options.rank));
  auto others = ends;
  others[static_cast<size_t>(options.rank)] = caf::actor();  // no end keeps itself alive
  const auto link =
      std::make_shared<MessageLink>(std::move(options), [others](int peer, LinkMessage message) {
        caf::anon_send(others[static_cast<size_t>(peer)], std::move(message));
      });
  caf::anon_send(own, open_atom::value, link, others);
  return {link.get(), [link](comm::ByteLink*) { link->close(); }};
}

}  // namespace collie
