#include "actors/worker_settings.hpp"

namespace collie {

ActivationMemory activation_memory_of(const Config& config) {
  const std::string& offload = config.parallel.offload;
  return {recompute_of(config.model.recompute), offload == "activations" || offload == "all"};
}

ModelWorkerSettings worker_settings(const RunPlan& plan, int rank, const RankGroups& groups) {
  ModelWorkerSettings settings;
  settings.rank = rank;
  settings.grid = plan.layout.grid;
  settings.ranges = plan.ranges;
  settings.rank_of_stage = plan.layout.rank_of_stage;
  settings.model = plan.model;
  settings.optimizer = plan.config.optimizer;
  settings.precision = precision_of(plan.config.optimizer, plan.config.model.dtype, plan.config.run.seed);
  const std::string& offload = plan.config.parallel.offload;
  settings.offload_optimizer = offload == "optimizer" || offload == "all";
  settings.activations = activation_memory_of(plan.config);
  settings.graphs = plan.config.device.graphs == "auto";
  settings.loss = plan.config.train.loss;
  settings.seed = plan.config.run.seed;
  settings.threads = plan.threads_per_rank;
  settings.training = plan.purpose == Purpose::train;
  if (plan.weights.kind == WeightOrigin::Kind::folder) settings.weights_folder = plan.weights.path;
  if (plan.weights.kind == WeightOrigin::Kind::checkpoint) settings.checkpoint = &*plan.checkpoint;
  settings.sequence_parallel = plan.config.parallel.sequence_parallel;
  settings.zero_stage = plan.config.parallel.zero_stage;
  settings.clip_grad_norm = plan.config.train.clip_grad_norm;
  settings.bucket_elements = plan.config.parallel.bucket_elements;
  settings.groups = groups;
  settings.make_operations = operations_of(plan, rank);
  return settings;
}

}  // namespace collie
