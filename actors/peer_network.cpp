#include "actors/peer_network.hpp"

#include <atomic>
#include <set>

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <caf/io/basp_broker.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/network/interfaces.hpp>
#include <caf/io/network/stream_impl.hpp>
#include <caf/io/scribe.hpp>

namespace collie {
namespace {

using caf::io::network::rw_state;
using Multiplexer = caf::io::network::default_multiplexer;

// The read and write functions of a CAF stream.
class ChannelPolicy {
 public:
  explicit ChannelPolicy(std::unique_ptr<PeerChannel> channel) : channel_(std::move(channel)) {}

  rw_state read_some(size_t& count, int, void* bytes, size_t size) {
    return state_of(channel_->read({static_cast<uint8_t*>(bytes), size}, count));
  }
  rw_state write_some(size_t& count, int, const void* bytes, size_t size) {
    return state_of(channel_->write({static_cast<const uint8_t*>(bytes), size}, count));
  }
  // Bytes that are already decrypted do not make the socket ready.
  bool must_read_more(int, size_t threshold) const {
    const size_t pending = channel_->pending();
    return pending > 0 && pending >= threshold;
  }

 private:
  static rw_state state_of(PeerChannel::State state) {
    return state == PeerChannel::State::closed ? rw_state::failure : rw_state::success;
  }
  std::unique_ptr<PeerChannel> channel_;
};

// CAF 0.17 names connections by their descriptors, and learns late that one has ended. It would then take a
// new connection with the same descriptor for the old one and lose it. These handles have numbers that are
// never reused.
caf::io::connection_handle new_handle() {
  static std::atomic<int64_t> last{0};
  return caf::io::connection_handle::from_int(++last);
}

// A connection in the form that CAF's broker for other processes (BASP) needs. It is made like CAF's own
// `scribe_impl`.
class PeerScribe final : public caf::io::scribe {
 public:
  PeerScribe(Multiplexer& multiplexer, std::unique_ptr<PeerChannel> channel, std::shared_ptr<void> hold)
      : scribe(new_handle()),
        hold_(std::move(hold)),
        stream_(multiplexer, channel->release(), std::move(channel)) {}

  void configure_read(caf::io::receive_policy::config config) override {
    stream_.configure_read(config);
    if (std::exchange(launched_, true)) return;
    note_begin();
    stream_.start(this);
  }
  void ack_writes(bool enable) override { stream_.ack_writes(enable); }
  std::vector<char>& wr_buf() override { return stream_.wr_buf(); }
  std::vector<char>& rd_buf() override { return stream_.rd_buf(); }
  void graceful_shutdown() override {
    stream_.graceful_shutdown();
    detach(&stream_.backend(), false);
  }
  void flush() override { stream_.flush(this); }
  std::string addr() const override {
    const auto address = caf::io::network::remote_addr_of_fd(stream_.fd());
    return address ? *address : "";
  }
  uint16_t port() const override {
    const auto port = caf::io::network::remote_port_of_fd(stream_.fd());
    return port ? *port : 0;
  }
  void add_to_loop() override { stream_.activate(this); }
  void remove_from_loop() override { stream_.passivate(); }

 private:
  // The broker does not record when its connections begin. If its clock ticks before the first answer, it
  // takes the connection for one that has always been silent. So this function records the time, on the
  // broker's thread.
  void note_begin() {
    auto* const broker = dynamic_cast<caf::io::basp_broker*>(parent());
    if (broker == nullptr) return;
    const auto found = broker->ctx.find(hdl());
    if (found != broker->ctx.end()) found->second.last_seen = broker->clock().now();
  }

  std::shared_ptr<void> hold_;
  bool launched_ = false;
  caf::io::network::stream_impl<ChannelPolicy> stream_;
};

Multiplexer& multiplexer_of(caf::actor_system& system) {
  return dynamic_cast<Multiplexer&>(system.middleman().backend());
}

caf::actor broker_of(caf::actor_system& system) {
  return system.middleman().named_broker<caf::io::basp_broker>(caf::atom("BASP"));
}

caf::io::scribe_ptr make_scribe(caf::actor_system& system, std::unique_ptr<PeerChannel> channel,
                                std::shared_ptr<void> hold) {
  return caf::make_counted<PeerScribe>(multiplexer_of(system), std::move(channel), std::move(hold));
}

}  // namespace

// The broker gets the message that CAF's middleman actor sends it after it has made or accepted a connection.
void enter_listening(caf::actor_system& system, std::unique_ptr<PeerChannel> channel,
                     std::shared_ptr<void> hold, const caf::actor& published, uint16_t port) {
  caf::anon_send(broker_of(system), caf::publish_atom::value,
                 make_scribe(system, std::move(channel), std::move(hold)), port,
                 caf::actor_cast<caf::strong_actor_ptr>(published), std::set<std::string>());
}

caf::actor enter_connecting(caf::actor_system& system, std::unique_ptr<PeerChannel> channel, uint16_t port,
                            std::chrono::milliseconds patience, std::string& why) {
  caf::scoped_actor self(system);
  caf::actor found;
  self->request(broker_of(system), patience, caf::connect_atom::value,
                make_scribe(system, std::move(channel), nullptr), port)
      .receive(
          [&](const caf::node_id&, const caf::strong_actor_ptr& actor, const std::set<std::string>&) {
            if (actor) found = caf::actor_cast<caf::actor>(actor);
          },
          [&](const caf::error& error) { why = system.render(error); });
  return found;
}

}  // namespace collie
