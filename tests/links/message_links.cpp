#include "tests/links/message_links.hpp"

#include <map>

#include "actors/actor_of.hpp"
#include "actors/cluster.hpp"
#include "actors/guard.hpp"
#include "actors/link_end.hpp"
#include "tests/actors/threaded_config.hpp"
#include "tests/certificates.hpp"
#include "tests/io/temporary_folder.hpp"

namespace collie::test {
namespace {

using endpoint_atom =
    caf::atom_constant<caf::atom("endpoint")>;  // to a endpoint: (endpoint, process) -> that process's

// At the endpoint of each actor system: who lives elsewhere asks it for the ends of links there, by number.
struct EndpointState {
  const char* name = "endpoint";
  std::map<int, caf::actor> ends, endpoints;
};

caf::behavior endpoint_behaviour(caf::stateful_actor<EndpointState>* self) {
  self->set_exit_handler([=](const caf::exit_msg&) {
    for (const auto& [link, end] : self->state.ends) shut_down(end);
    self->quit(caf::exit_reason::user_shutdown);
  });
  return {
      [=](join_atom, int process, const caf::actor& endpoint) {
        self->state.endpoints[process] = endpoint;
        return process;
      },
      [=](endpoint_atom, int process) { return self->state.endpoints.at(process); },
      [=](get_atom, int link) {
        caf::actor& end = self->state.ends[link];
        if (!end) end = spawn_link_end(self->system());
        return end;
      },
      [=](leave_atom, int link) {
        shut_down(self->state.ends[link]);
        self->state.ends.erase(link);
      },
  };
}

constexpr auto patience = std::chrono::seconds(10);

struct Process {
  ThreadedConfig config;
  std::unique_ptr<caf::actor_system> system;
  caf::actor endpoint;
  uint16_t port = 0;

  explicit Process(const ClusterSection& cluster) {
    add_cluster_support(config, cluster);
    system = std::make_unique<caf::actor_system>(config);
    endpoint = system->spawn<ActorOf<EndpointState, endpoint_behaviour>>();
    port = publish(*system, endpoint, {"127.0.0.1", 0}, cluster, "test");
  }
  ~Process() { shut_down(endpoint); }
};

template <class Answer, class... Words>
Answer ask(Process& asking, const caf::actor& endpoint, const Words&... words) {
  Answer answer;
  caf::scoped_actor self(*asking.system);
  self->request(endpoint, patience, words...)
      .receive([&](const Answer& found) { answer = found; },
               [&](const caf::error& error) { throw RunError("{}", self->system().render(error)); });
  return answer;
}

// Actor systems that are connected with each other; made as they are needed, and kept.
class TlsCluster {
 public:
  TlsCluster() {
    const Authority authority(folder_.path(), "ca");
    const CertificateFiles files = authority.issue("node");
    cluster_.tls = {files.certificate, files.key, authority.file()};
    add();
  }

  void grow_to(int size) {
    while (this->size() < size) add();
  }

  // Of link number `link`, as process `asking` knows them.
  std::vector<caf::actor> ends(int asking, int link, int size) {
    std::vector<caf::actor> all;
    for (int rank = 0; rank < size; ++rank) {
      const caf::actor endpoint =
          rank == asking ? at(rank).endpoint
                         : ask<caf::actor>(at(asking), at(asking).endpoint, endpoint_atom::value, rank);
      all.push_back(ask<caf::actor>(at(asking), endpoint, get_atom::value, link));
    }
    return all;
  }
  void forget(int rank, int link) { caf::anon_send(at(rank).endpoint, leave_atom::value, link); }

 private:
  int size() const { return static_cast<int>(processes_.size()); }
  Process& at(int rank) { return *processes_.at(static_cast<size_t>(rank)); }

  void add() {
    Process& own = *processes_.emplace_back(std::make_unique<Process>(cluster_));
    const int rank = size() - 1;
    for (int other = 0; other < rank; ++other) {
      const caf::actor endpoint =
          connect(*own.system, {"127.0.0.1", at(other).port}, cluster_, "test", PeerKind::node, "");
      ask<int>(own, own.endpoint, join_atom::value, other, endpoint);
      ask<int>(own, endpoint, join_atom::value, rank, own.endpoint);
    }
  }

  TemporaryFolder folder_;
  ClusterSection cluster_;
  std::vector<std::unique_ptr<Process>> processes_;
};

// An actor system must end before what its thread keeps for CAF's logger, and so before static objects do:
// those that last are the main thread's.
caf::actor_system& local_system() {
  thread_local ThreadedConfig config;
  thread_local caf::actor_system system(config);
  return system;
}

MessageLinkOptions of_rank(MessageLinkOptions options, int rank, int size) {
  options.rank = rank;
  options.size = size;
  options.addresses.assign(static_cast<size_t>(size), "here");
  return options;
}

// The link, for whose end `forget` is called when it is gone.
std::shared_ptr<comm::ByteLink> with_end(const std::shared_ptr<comm::ByteLink>& link,
                                         const std::function<void()>& forget) {
  return {link.get(), [kept = std::shared_ptr(link), forget](comm::ByteLink*) mutable {
            kept.reset();
            forget();
          }};
}

}  // namespace

MessageLinks make_local_message_links(int size, const MessageLinkOptions& options) {
  MessageLinks made;
  for (int rank = 0; rank < size; ++rank) made.ends.push_back(spawn_link_end(local_system()));
  for (int rank = 0; rank < size; ++rank)
    made.links.push_back(with_end(open_message_link(made.ends, of_rank(options, rank, size)),
                                  [end = made.ends[static_cast<size_t>(rank)]] { shut_down(end); }));
  return made;
}

MessageLinks make_tls_message_links(int size, const MessageLinkOptions& options) {
  thread_local TlsCluster own;
  TlsCluster& cluster = own;  // of this thread, wherever its links end
  static int number = 0;
  const int link = number++;
  cluster.grow_to(size);
  MessageLinks made;
  std::vector<std::vector<caf::actor>> ends;  // as each process knows them
  for (int rank = 0; rank < size; ++rank) ends.push_back(cluster.ends(rank, link, size));
  for (int rank = 0; rank < size; ++rank) {
    made.ends.push_back(ends[static_cast<size_t>(rank)][static_cast<size_t>(rank)]);
    made.links.push_back(
        with_end(open_message_link(ends[static_cast<size_t>(rank)], of_rank(options, rank, size)),
                 [&cluster, rank, link] { cluster.forget(rank, link); }));
  }
  return made;
}

}  // namespace collie::test
