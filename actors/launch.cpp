#include "actors/launch.hpp"

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "actors/caf_types.hpp"
#include "actors/dial.hpp"
#include "actors/guard.hpp"
#include "actors/version.hpp"
#include "base/log.hpp"

namespace collie {
namespace {

// Nodes of a job may start minutes after each other.
constexpr auto patience = std::chrono::minutes(5);
constexpr auto last_word = std::chrono::milliseconds(500);

std::optional<std::string> variable(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::optional<std::string>(value) : std::nullopt;
}

int number(const char* name) {
  const auto text = variable(name);
  int value = -1;
  if (text) {
    const auto parsed = std::from_chars(text->data(), text->data() + text->size(), value);
    if (parsed.ec != std::errc() || parsed.ptr != text->data() + text->size()) value = -1;
  }
  if (value < 0)
    throw UserError("{}: {} found; a number is needed beside the master's address", name,
                    text ? "'" + *text + "'" : "nothing");
  return value;
}

std::optional<Launch> checked(Launch launch, const char* rank, const char* size) {
  launch.rank = number(rank);
  launch.size = number(size);
  if (launch.size < 1 || launch.rank >= launch.size)
    throw UserError("{}: is {}, with {} of {}; it must be below that", rank, launch.rank, size, launch.size);
  return launch.size > 1 ? std::optional(launch) : std::nullopt;
}

// Process 0's side of the meeting.
struct MeetingState {
  const char* name = "meeting";
  std::map<int, RemoteNode> nodes;  // by process
  std::string refusal;              // why somebody who came cannot stay
  caf::response_promise everybody;
};

caf::behavior meeting_behaviour(caf::stateful_actor<MeetingState>* self, int size) {
  const auto answer_if_complete = [=] {
    MeetingState& state = self->state;
    if (!state.everybody.pending()) return;
    if (!state.refusal.empty()) return state.everybody.deliver(state.refusal);
    if (static_cast<int>(state.nodes.size()) == size) state.everybody.deliver(std::string());
  };
  return {
      [=](join_atom, int rank, const std::string& name, const caf::actor& host, const std::string& door) {
        MeetingState& state = self->state;
        RemoteNode node{fmt::format("{} (process {})", name, rank), host, door};
        if (!state.nodes.emplace(rank, std::move(node)).second)
          state.refusal = fmt::format("two processes say that they are number {} of {}", rank, size);
        answer_if_complete();
      },
      [=](failed_atom, const std::string& refusal) {
        self->state.refusal = refusal;
        answer_if_complete();
      },
      [=](wait_atom) -> caf::result<std::string> {
        self->state.everybody = self->make_response_promise();
        answer_if_complete();
        return caf::delegated<std::string>();
      },
      [=](get_atom, int rank) { return self->state.nodes.at(rank).host; },
      [=](name_atom, int rank) { return self->state.nodes.at(rank).address; },
      [=](door_atom, int rank) { return self->state.nodes.at(rank).door; },
  };
}

// Only processes of the job, until all have come: who came later would disturb the run by being connected.
Gate::Policy policy_of_meeting(const caf::actor& meeting, const std::shared_ptr<std::atomic<bool>>& complete,
                               const std::string& run) {
  Gate::Policy policy;
  policy.admit = [complete, run](const PeerRequest& request, int socket) {
    if (request.kind == PeerKind::member && !*complete) return welcome(request, socket);
    return refuse(
        fmt::format("is busy with the run '{}' of a job; it is for that job's processes alone", run));
  };
  policy.quiet = [complete] { return complete->load(); };
  policy.refused = [meeting, complete](const PeerRequest& request, const std::string& why) {
    if (request.kind == PeerKind::member && !*complete && request.version != engine_version())
      caf::anon_send(meeting, failed_atom::value,
                     fmt::format("process {} on {} is collie-engine {}: this {}", request.process,
                                 request.host, request.version, why));
  };
  return policy;
}

// The other processes of the run alone.
Gate::Policy policy_of_door() {
  Gate::Policy policy;
  policy.admit = [](const PeerRequest& request, int socket) {
    return request.kind == PeerKind::node ? welcome(request, socket)
                                          : refuse("is a process of a job, and no node that waits for runs");
  };
  policy.quiet = [] { return true; };
  return policy;
}

// With certificates tensors may travel as messages, for which the processes connect with each other.
std::string open_door(caf::actor_system& system, const caf::actor& host, const std::string& interface,
                      const std::string& name, const ClusterSection& cluster) {
  if (cluster.tls.certificate.empty()) return "";
  NodeAddress door{interface, 0, name};
  door.port = publish(system, host, door, cluster, "the address towards the master", policy_of_door());
  return door_of(door);
}

}  // namespace

std::optional<Launch> launch_of_environment() {
  Launch launch;
  if (const auto master = variable("COLLIE_ENGINE_MASTER")) {
    launch.master = parse_node_address(*master, "COLLIE_ENGINE_MASTER");
    return checked(launch, "COLLIE_ENGINE_RANK", "COLLIE_ENGINE_SIZE");
  }
  const auto address = variable("MASTER_ADDR");
  if (!address) return std::nullopt;
  const bool slurm = variable("SLURM_PROCID").has_value();
  if (!slurm && !variable("RANK")) return std::nullopt;
  launch.master =
      parse_node_address(*address + ":" + variable("MASTER_PORT").value_or("29400"), "MASTER_ADDR");
  return slurm ? checked(launch, "SLURM_PROCID", "SLURM_NTASKS") : checked(launch, "RANK", "WORLD_SIZE");
}

Gathering gather_nodes(caf::actor_system& system, const Launch& launch, const ClusterSection& cluster,
                       const std::string& run) {
  check_data_plane(launch.master, cluster);
  const caf::actor meeting = system.spawn(meeting_behaviour, launch.size);
  const auto complete = std::make_shared<std::atomic<bool>>(false);
  publish(system, meeting, launch.master, cluster, "the master's address",
          policy_of_meeting(meeting, complete, run));
  caf::scoped_actor self(system);
  const caf::actor host = spawn_node_host(system, {launch.master.host, cluster, nullptr});
  self->send(meeting, join_atom::value, 0, own_request(PeerKind::member, run).host, host, std::string());
  log::info("waits for {} other processes at {}", launch.size - 1, to_string(launch.master));
  std::string failure =
      fmt::format("not all {} processes came within {} minutes", launch.size, patience.count());
  self->request(meeting, patience, wait_atom::value)
      .receive([&](const std::string& refusal) { failure = refusal; }, [](const caf::error&) {});
  if (!failure.empty()) {
    shut_down(meeting);
    shut_down(host);
    throw UserError("{}", failure);
  }
  *complete = true;
  std::vector<RemoteNode> nodes(static_cast<size_t>(launch.size));
  for (int rank = 0; rank < launch.size; ++rank) {
    RemoteNode& node = nodes[static_cast<size_t>(rank)];
    self->request(meeting, caf::infinite, get_atom::value, rank)
        .receive([&](const caf::actor& found) { node.host = found; }, [](const caf::error&) {});
    self->request(meeting, caf::infinite, name_atom::value, rank)
        .receive([&](const std::string& name) { node.address = name; }, [](const caf::error&) {});
    self->request(meeting, caf::infinite, door_atom::value, rank)
        .receive([&](const std::string& door) { node.door = door; }, [](const caf::error&) {});
  }
  return {std::move(nodes), meeting};
}

void dismiss(caf::actor_system& system, const Gathering& gathering) {
  caf::scoped_actor self(system);
  for (const RemoteNode& node : gathering.nodes)
    self->request(node.host, std::chrono::seconds(2), leave_atom::value)
        .receive([] {}, [](const caf::error&) {});
  shut_down(gathering.meeting);
}

int join(caf::actor_system& system, const Launch& launch, const ClusterSection& cluster) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  caf::actor meeting;
  while (!meeting) {
    try {
      meeting = connect(system, launch.master, cluster, "the master", PeerKind::member, "");
    } catch (const Unreachable&) {
      if (std::chrono::steady_clock::now() > deadline) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));  // it may not have started yet
    }
  }
  caf::scoped_actor self(system);
  const std::string interface = own_address_towards(launch.master);
  const std::string name = own_request(PeerKind::member, "").host;
  const caf::actor host = spawn_node_host(system, {interface, cluster, nullptr});
  self->monitor(meeting);
  self->monitor(host);
  self->send(meeting, join_atom::value, launch.rank, name, host,
             open_door(system, host, interface, name, cluster));
  log::info("process {} of {} has joined {}", launch.rank, launch.size, to_string(launch.master));
  const auto is_host = [&](const caf::down_msg& down) { return down.source == host.address(); };
  bool dismissed = false;
  self->receive([&](const caf::down_msg& down) { dismissed = is_host(down); });
  // The host answers that it leaves before it does: process 0 may be gone in between.
  if (!dismissed)
    self->receive([&](const caf::down_msg& down) { dismissed = is_host(down); },
                  caf::after(last_word) >> [] {});
  caf::anon_send_exit(host, caf::exit_reason::user_shutdown);
  if (!dismissed) log::error("process 0 at {} is gone", to_string(launch.master));
  return dismissed ? 0 : 1;
}

}  // namespace collie
