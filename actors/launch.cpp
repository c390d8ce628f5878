#include "actors/launch.hpp"

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "base/failpoint.hpp"
#include "base/log.hpp"
#include "base/version.hpp"
#include "net/dial.hpp"

namespace collie {
namespace {

// Nodes of a job may start minutes after each other.
constexpr auto join_patience = std::chrono::minutes(5);
constexpr auto poll_interval = std::chrono::milliseconds(50);  // between two looks at the wishes
constexpr auto until_answer_is_sent = std::chrono::milliseconds(500);
constexpr int interrupted = 130;

std::optional<std::string> variable(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::optional<std::string>(value) : std::nullopt;
}

int number(const char* name) {
  const std::string text = variable(name).value_or("");
  int value = -1;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || value < 0)
    throw UserError("{}: is '{}'; a number of 0 or more is needed", name, text);
  return value;
}

// The environment variables of a job: the rank of this process, and the number of processes.
struct Names {
  const char *rank, *size;
  bool any() const { return variable(rank) || variable(size); }
  bool both() const { return variable(rank) && variable(size); }
};
constexpr Names ours{"COLLIE_ENGINE_RANK", "COLLIE_ENGINE_SIZE"}, slurms{"SLURM_PROCID", "SLURM_NTASKS"},
    usual{"RANK", "WORLD_SIZE"};

std::optional<Launch> checked(Launch launch, const Names& names) {
  launch.rank = number(names.rank);
  launch.size = number(names.size);
  if (launch.size < 1) throw UserError("{}: is 0; a job has a process at least", names.size);
  if (launch.rank >= launch.size)
    throw UserError("{}: is {}, with {} of {}; it must be below that", names.rank, launch.rank, names.size,
                    launch.size);
  return launch.size > 1 ? std::optional(launch) : std::nullopt;
}

[[noreturn]] void missing(const std::string& what, const std::string& beside) {
  throw UserError(
      "{}: is missing beside {}; every process of a job needs its number, how many they are, and where they "
      "meet (docs/cluster.md), and a process that is alone none of them",
      what, beside);
}

void need(const char* name, const std::string& found) {
  if (!variable(name)) missing(name, found);
}

std::optional<Launch> launch_of_ours() {
  const char* const master = "COLLIE_ENGINE_MASTER";
  const auto address = variable(master);
  if (!address && !ours.any()) return std::nullopt;
  const std::string found = address ? master : variable(ours.rank) ? ours.rank : ours.size;
  Launch launch;
  if (address) launch.master = parse_node_address(*address, master);
  for (const char* const name : {master, ours.rank, ours.size}) need(name, found);
  return checked(launch, ours);
}

bool is_above_one(const char* name) {
  return variable(name) && number(name) > 1;
}

// Without a rendezvous address, each process of a job would start a run of its own.
void check_no_master_is_needed() {
  if (usual.both() && is_above_one(usual.size)) missing("MASTER_ADDR", usual.size);
  // srun sets this variable for a step that it started; SLURM_NTASKS is also set in an allocation's shell.
  if (is_above_one("SLURM_STEP_NUM_TASKS")) missing("MASTER_ADDR", "SLURM_STEP_NUM_TASKS");
}

// Returns the pair of variables that is set for this process; none if it is alone.
std::optional<Names> names_beside_master() {
  for (const Names& names : {slurms, usual})
    if (names.both()) return names;
  if (variable(slurms.rank)) missing(slurms.size, slurms.rank);
  if (usual.any())
    missing(variable(usual.rank) ? usual.size : usual.rank, variable(usual.rank) ? usual.rank : usual.size);
  if (is_above_one(slurms.size)) missing(slurms.rank, slurms.size);
  if (variable("MASTER_PORT")) missing("RANK", "MASTER_PORT");
  return std::nullopt;
}

// The rendezvous actor of process 0.
struct RendezvousState {
  const char* name = "rendezvous";
  std::map<int, RemoteNode> nodes;  // by process
  bool answered = false;
};

// `owner` gets (wait, "") when all processes have joined, or (wait, reason) if one of those that joined
// cannot stay. `owner` also gets the requests of the other processes.
caf::behavior rendezvous_behaviour(caf::stateful_actor<RendezvousState>* self, int size,
                                   const caf::actor& owner) {
  const auto answer = [=](const std::string& refusal) {
    if (!std::exchange(self->state.answered, true)) self->send(owner, wait_atom::value, refusal);
  };
  return {
      [=](join_atom, int rank, const std::string& name, const caf::actor& host, const std::string& endpoint) {
        auto& nodes = self->state.nodes;
        if (!nodes.emplace(rank, RemoteNode{fmt::format("{} (process {})", name, rank), host, endpoint})
                 .second)
          return answer(fmt::format("two processes say that they are number {} of {}", rank, size));
        if (static_cast<int>(nodes.size()) == size) answer("");
      },
      [=](failed_atom, const std::string& refusal) { answer(refusal); },
      [=](get_atom) {
        std::vector<RemoteNode> nodes;
        for (const auto& [rank, node] : self->state.nodes) nodes.push_back(node);
        return nodes;
      },
      [=](const StopRequest& request) { self->send(owner, request); },
      [=](const SaveRequest& request) { self->send(owner, request); },
  };
}

// Admits only processes of the job, and only until all have joined. A later peer would disturb the run by its
// connection.
Gate::Policy rendezvous_policy(const caf::actor& rendezvous,
                               const std::shared_ptr<std::atomic<bool>>& complete, const std::string& run) {
  Gate::Policy policy;
  policy.admit = [complete, run](const PeerRequest& request, int socket) {
    if (request.kind == PeerKind::member && !*complete) return welcome(request, socket);
    return refuse(
        fmt::format("is busy with the run '{}' of a job; it is for that job's processes alone", run));
  };
  policy.quiet = [complete] { return complete->load(); };
  policy.refused = [rendezvous, complete](const PeerRequest& request, const std::string& why) {
    if (request.kind == PeerKind::member && !*complete && request.version != engine_version())
      caf::anon_send(rendezvous, failed_atom::value,
                     fmt::format("process {} on {} is collie-engine {}: this {}", request.process,
                                 request.host, request.version, why));
  };
  return policy;
}

// Admits only the other processes of the run.
Gate::Policy endpoint_policy() {
  Gate::Policy policy;
  policy.admit = [](const PeerRequest& request, int socket) {
    return request.kind == PeerKind::node ? welcome(request, socket)
                                          : refuse("is a process of a job, and no node that waits for runs");
  };
  policy.quiet = [] { return true; };
  return policy;
}

// With certificates, tensors may travel as messages, and for that the processes connect with each other.
std::string open_endpoint(caf::actor_system& system, const caf::actor& host, const std::string& interface,
                          const std::string& name, const ClusterSection& cluster) {
  if (cluster.tls.certificate.empty()) return "";
  NodeAddress endpoint{interface, 0, name};
  endpoint.port =
      publish(system, host, endpoint, cluster, "the address towards the master", endpoint_policy());
  return endpoint_of(endpoint);
}

}  // namespace

std::optional<Launch> launch_of_environment() {
  if (variable("COLLIE_ENGINE_MASTER") || ours.any()) return launch_of_ours();
  const auto address = variable("MASTER_ADDR");
  if (!address) return check_no_master_is_needed(), std::nullopt;
  const auto names = names_beside_master();
  if (!names) return std::nullopt;
  Launch launch;
  const auto port = variable("MASTER_PORT");
  launch.master = parse_node_address(*address + ":" + port.value_or("29400"),
                                     port ? "MASTER_ADDR:MASTER_PORT" : "MASTER_ADDR");
  return checked(launch, *names);
}

Gathering gather_nodes(caf::scoped_actor& self, const Launch& launch, const ClusterSection& cluster,
                       const std::string& run, const Wishes& wishes) {
  caf::actor_system& system = self->system();
  check_data_plane(launch.master, cluster);
  const caf::actor rendezvous =
      system.spawn(rendezvous_behaviour, launch.size, caf::actor_cast<caf::actor>(self));
  const auto complete = std::make_shared<std::atomic<bool>>(false);
  publish(system, rendezvous, launch.master, cluster, "the master's address",
          rendezvous_policy(rendezvous, complete, run));
  const caf::actor host = spawn_node_host(system, {launch.master.host, cluster, nullptr});
  self->send(rendezvous, join_atom::value, 0, own_request(PeerKind::member, run).host, host, std::string());
  log::info("waits for {} other processes at {}", launch.size - 1, to_string(launch.master));
  Gathering gathering{{}, rendezvous};
  std::optional<std::string> refusal;
  const auto deadline = std::chrono::steady_clock::now() + join_patience;
  while (!refusal && !gathering.interrupted && std::chrono::steady_clock::now() < deadline) {
    self->receive([&](wait_atom, const std::string& why) { refusal = why; },
                  [&](const StopRequest&) { gathering.interrupted = true; }, [](const SaveRequest&) {},
                  caf::after(poll_interval) >> [] {});
    failpoint("job.wait");
    if (wishes() == Wish::end) gathering.interrupted = true;
  }
  *complete = true;
  self->request(rendezvous, caf::infinite, get_atom::value)
      .receive([&](const std::vector<RemoteNode>& nodes) { gathering.nodes = nodes; },
               [](const caf::error&) {});
  if (gathering.interrupted || (refusal && refusal->empty())) return gathering;
  constexpr int input_was_wrong = 2;
  dismiss(system, gathering, input_was_wrong);
  throw UserError("{}", refusal ? *refusal
                                : fmt::format("not all {} processes came within {} minutes", launch.size,
                                              join_patience.count()));
}

void dismiss(caf::actor_system& system, const Gathering& gathering, int exit_code) {
  caf::scoped_actor self(system);
  for (const RemoteNode& node : gathering.nodes)
    self->request(node.host, std::chrono::seconds(2), leave_atom::value, exit_code)
        .receive([] {}, [](const caf::error&) {});
  shut_down(gathering.rendezvous);
}

namespace {

caf::actor find_rendezvous(caf::actor_system& system, const Launch& launch, const ClusterSection& cluster) {
  const auto deadline = std::chrono::steady_clock::now() + join_patience;
  while (true) {
    try {
      return connect(system, launch.master, cluster, "the master", PeerKind::member, "");
    } catch (const Unreachable&) {
      if (std::chrono::steady_clock::now() > deadline) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));  // it may not have started yet
    }
  }
}

// Passes this process's requests on to process 0.
void tell(caf::scoped_actor& self, const caf::actor& rendezvous, const Launch& launch, Wish wish) {
  const std::string by = fmt::format("process {}", launch.rank);
  if (wish == Wish::end) {
    log::warn("asks process 0 to end the run, with a checkpoint; once more ends this process at once");
    self->send(rendezvous, StopRequest{RunStatus::interrupted, by});
  }
  if (wish == Wish::save) self->send(rendezvous, SaveRequest{by});
}

}  // namespace

int join(caf::actor_system& system, const Launch& launch, const ClusterSection& cluster,
         const std::function<Wishes()>& hold) {
  const caf::actor rendezvous = find_rendezvous(system, launch, cluster);
  caf::scoped_actor self(system);
  const std::string interface = own_address_towards(launch.master);
  const caf::actor host =
      spawn_node_host(system, {interface, cluster, nullptr, caf::actor_cast<caf::actor>(self)});
  self->monitor(rendezvous);
  self->monitor(host);
  const std::string name = own_request(PeerKind::member, "").host;
  const std::string endpoint = open_endpoint(system, host, interface, name, cluster);
  const Wishes wishes = hold();
  self->send(rendezvous, join_atom::value, launch.rank, name, host, endpoint);
  log::info("process {} of {} has joined {}", launch.rank, launch.size, to_string(launch.master));
  std::optional<int> exit_code;
  // `over`: the host has ended, after its answer, or process 0 has ended.
  bool over = false, asked = false;
  while (!over) {
    self->receive([&](leave_atom, int code) { exit_code = code; }, [&](const caf::down_msg&) { over = true; },
                  caf::after(poll_interval) >> [] {});
    const Wish wish = wishes();
    asked = asked || wish == Wish::end;
    tell(self, rendezvous, launch, wish);
  }
  caf::anon_send_exit(host, caf::exit_reason::user_shutdown);
  if (exit_code) {
    // The host's answer is in flight; when process 0 has it, the rendezvous ends.
    self->receive([](const caf::down_msg&) {}, caf::after(until_answer_is_sent) >> [] {});
    return *exit_code;
  }
  log::error("process 0 at {} is gone", to_string(launch.master));
  return asked ? interrupted : 1;
}

}  // namespace collie
