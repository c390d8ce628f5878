// The plan as JSON; docs/plan.md documents the keys.
#include "plan/report.hpp"

namespace collie {

using nlohmann::ordered_json;

namespace {

ordered_json json_of(const PlanReport::Stage& stage, size_t number) {
  return {{"stage", number},
          {"position", stage.position},
          {"first_block", stage.range.first_block},
          {"last_block", stage.range.last_block - 1},
          {"embedding", stage.range.embedding},
          {"head", stage.range.head},
          {"parameters", stage.parameters}};
}

ordered_json json_of(const PlannedRank& rank) {
  ordered_json peaks;
  for (size_t category = 0; category < category_count; ++category)
    peaks[std::string(name(static_cast<Category>(category)))] = rank.peak_bytes[category];
  ordered_json traffic = ordered_json::array();
  for (const PlannedTraffic& one : rank.traffic)
    traffic.push_back({{"group", one.group}, {"ranks", one.ranks}, {"sent_bytes", one.sent_bytes}});
  return {{"rank", rank.rank},
          {"place",
           {{"pipeline", rank.place.pipeline},
            {"data", rank.place.data},
            {"context", rank.place.context},
            {"tensor", rank.place.tensor}}},
          {"stages", rank.stages},
          {"parameters", rank.parameters},
          {"peak_bytes", std::move(peaks)},
          {"peak_total_bytes", rank.peak_total_bytes},
          {"peak_activations", rank.peak_activations},
          {"traffic_per_step", std::move(traffic)},
          {"modelled_on", rank.modelled_on}};
}

ordered_json json_of_schedule(const PlanReport& report) {
  return {{"name", report.schedule.name},
          {"micro_batches", report.schedule.micro_batches},
          {"costs",
           {{"forward", report.costs.forward},
            {"backward_input", report.costs.backward_input},
            {"backward_weight", report.costs.backward_weight},
            {"communication", report.costs.communication}}},
          {"makespan", report.timeline.makespan},
          {"bubble_share", report.timeline.bubble_share()},
          {"peak_activations", schedule::peak_activations(report.schedule)}};
}

}  // namespace

ordered_json to_json(const PlanReport& report) {
  ordered_json stages = ordered_json::array(), ranks = ordered_json::array();
  for (size_t stage = 0; stage < report.stages.size(); ++stage)
    stages.push_back(json_of(report.stages[stage], stage));
  if (report.layer_times)
    for (size_t stage = 0; stage < report.stages.size(); ++stage)
      stages[stage]["measured_s"] = report.stages[stage].seconds;
  for (const PlannedRank& rank : report.ranks) ranks.push_back(json_of(rank));
  ordered_json json = {{"name", report.name},
                       {"parameters", report.parameters},
                       {"trained_parameters", report.trained_parameters},
                       {"layout",
                        {{"ranks", report.grid.ranks()},
                         {"pipeline", report.grid.pipeline},
                         {"data", report.grid.data},
                         {"context", report.grid.context},
                         {"tensor", report.grid.tensor},
                         {"zero_stage", report.zero_stage},
                         {"sequence_parallel", report.sequence_parallel},
                         {"tied", report.tied},
                         {"device", report.device == DeviceKind::cuda ? "cuda" : "cpu"},
                         {"dtype", name(report.dtype)},
                         {"recompute", report.recompute},
                         {"threads_per_rank", report.threads_per_rank}}},
                       {"step",
                        {{"sequences", report.sequences},
                         {"micro_batches", report.micro_batches},
                         {"micro_batch_size", report.micro_batch_size},
                         {"sequence_length", report.sequence_length},
                         {"tokens", report.tokens},
                         {"targets", report.targets},
                         {"whole_gradient_bytes", report.whole_gradients.bytes},
                         {"flops",
                          {{"total", report.work.total()},
                           {"matrices", report.work.matrices},
                           {"attention", report.work.attention},
                           {"matrix_elements", report.matrix_elements}}}}},
                       {"steps",
                        {{"total", report.total_steps},
                         {"an_epoch", report.steps_per_epoch},
                         {"estimate_interval", report.estimate_interval}}},
                       {"schedule", json_of_schedule(report)},
                       {"stages", std::move(stages)},
                       {"ranks", std::move(ranks)}};
  if (const auto& times = report.layer_times)
    json["measured_s"] = {
        {"embedding", times->embedding_s}, {"block", times->block_s}, {"head", times->head_s}};
  if (!report.node_of_rank.empty()) json["node_of_rank"] = report.node_of_rank;
  return json;
}

}  // namespace collie
