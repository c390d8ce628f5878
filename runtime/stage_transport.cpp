#include "runtime/stage_transport.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>

#include "base/log.hpp"
#include "kernels/gpu.hpp"

namespace collie {
namespace {

class Choice {
 public:
  Choice(const std::vector<int>& pipeline, std::vector<GpuCard> cards)
      : pipeline_(pipeline), cards_(std::move(cards)) {}

  int rank_at(int position) const { return pipeline_[static_cast<size_t>(position)]; }

  // Returns why NCCL cannot be used for this edge; empty if it can.
  std::string objection(const std::pair<int, int>& edge) const {
    const auto [first, second] = std::minmax(edge.first, edge.second);
    return nccl_objection({card_at(first), card_at(second)}, {rank_at(first), rank_at(second)});
  }

  std::string carrier(const std::pair<int, int>& edge, const std::string& nccl) const {
    const std::string reason = objection(edge);
    if (reason.empty()) return nccl;
    if (card_at(edge.first).node != card_at(edge.second).node) return "through host memory: " + reason;
    if (!card_at(edge.first).has_gpu()) return "in the host's memory";
    if (card_at(edge.first).id == card_at(edge.second).id) return "in the memory of the GPU that they share";
    return "copied between the process's GPUs: " + reason;
  }

  bool any_gpu() const {
    return std::any_of(cards_.begin(), cards_.end(), [](const GpuCard& card) { return card.has_gpu(); });
  }

 private:
  const GpuCard& card_at(int position) const { return cards_[static_cast<size_t>(position)]; }

  const std::vector<int>& pipeline_;
  std::vector<GpuCard> cards_;
};

// Logs one line for each transport: "tensors between stages of ranks 0 and 2, 2 and 4: NCCL ...".
void tell(const Choice& choice, const StageEdges& edges, const std::string& nccl) {
  std::map<std::string, std::set<std::pair<int, int>>> ranks_by_carrier;
  for (const auto& edge : edges) {
    const auto [first, second] = std::minmax(edge.first, edge.second);
    ranks_by_carrier[choice.carrier(edge, nccl)].insert({choice.rank_at(first), choice.rank_at(second)});
  }
  for (const auto& [carrier, pairs] : ranks_by_carrier) {
    std::string text;
    for (const auto& [first, second] : pairs)
      text += fmt::format("{}{} and {}", text.empty() ? "" : ", ", first, second);
    log::info("tensors between stages of ranks {}: {}", text, carrier);
  }
}

nccl::UniqueId new_id(const nccl::Api& api) {
  nccl::UniqueId id{};
  if (const nccl::Result result = api.get_unique_id(&id); result != nccl::Result::success)
    throw RunError("tensors between stages: NCCL gives no id: {} ({})", api.get_error_string(result),
                   api.get_last_error(nullptr));
  return id;
}

// Returns the id of every edge, by (from, to). The sending rank makes it.
std::map<std::pair<int, int>, nccl::UniqueId> exchange_ids(ProcessGroup& host, const StageEdges& edges,
                                                           const std::function<nccl::UniqueId()>& make) {
  const auto size = static_cast<size_t>(host.size());
  std::vector<nccl::UniqueId> own(size);
  for (const auto& [from, to] : edges)
    if (from == host.rank()) own[static_cast<size_t>(to)] = make();
  const std::vector<std::byte> all = exchange_bytes(host, std::as_bytes(std::span(own)));
  std::map<std::pair<int, int>, nccl::UniqueId> ids;
  for (const auto& edge : edges)
    std::memcpy(&ids[edge],
                all.data() + (static_cast<size_t>(edge.first) * size + static_cast<size_t>(edge.second)) *
                                 sizeof(nccl::UniqueId),
                sizeof(nccl::UniqueId));
  return ids;
}

}  // namespace

StageEdges stage_edges(const Layout& layout, bool training) {
  StageEdges edges;
  const auto add = [&](int from, int to) {
    if (from != to) edges.insert({from, to});
  };
  const std::vector<int>& at = layout.rank_of_stage;
  for (size_t stage = 1; stage < at.size(); ++stage) {
    add(at[stage - 1], at[stage]);
    if (training) add(at[stage], at[stage - 1]);
  }
  if (!training || !layout.tied) return edges;
  add(at.back(), at.front());
  add(at.front(), at.back());
  return edges;
}

void choose_stage_transport(const std::optional<RankGpu>& gpu, const RankProcess& process,
                            const StageEdges& edges, const std::vector<int>& pipeline, RankGroups& groups,
                            const std::function<void(const RankGroups&)>& publish) {
  const std::shared_ptr<ProcessGroup> host = groups.pipeline;
  const Choice choice(pipeline, exchange(*host, card_of(gpu, process)));
  const nccl::Available nccl = nccl::available();
  if (host->rank() == 0 && choice.any_gpu())
    tell(choice, edges, nccl.api != nullptr ? nccl.description : "NCCL");
  StageEdges over_nccl;
  for (const auto& edge : edges)
    if (choice.objection(edge).empty()) over_nccl.insert(edge);
  if (over_nccl.empty()) return;
  const auto ids = exchange_ids(*host, over_nccl, [&] { return new_id(*nccl.api); });
  // The order is the same everywhere, because pipes are connected one after another.
  std::vector<std::pair<NcclPipe*, nccl::UniqueId>> own;
  for (const auto& [edge, id] : ids) {
    const auto [from, to] = edge;
    if (from != host->rank() && to != host->rank()) continue;
    const bool sends = from == host->rank();
    const int sender = choice.rank_at(from), receiver = choice.rank_at(to);
    auto pipe =
        std::make_shared<NcclPipe>(*nccl.api,
                                   fmt::format("tensors of stages from rank {} to rank {}, at rank {}",
                                               sender, receiver, sends ? sender : receiver),
                                   sends ? NcclPipe::End::sending : NcclPipe::End::receiving,
                                   gpu_backend()->make_queue(gpu->index), [host] { host->check(); });
    own.emplace_back(pipe.get(), id);
    (sends ? groups.pipes.to[receiver] : groups.pipes.from[sender]) = std::move(pipe);
  }
  publish(groups);
  for (const auto& [pipe, id] : own) pipe->connect(id);
}

}  // namespace collie
