#include "io/config_schema.hpp"

namespace collie::config {

namespace {

// Far above what anybody trains with, and such that no product of them overflows: positions in the data are
// steps times sequences, both below 2^32.
constexpr double kMostSteps = 1e9;
constexpr double kMostRanks = most_ranks;

void add(std::vector<Key>& all, std::vector<Key> keys) {
  all.insert(all.end(), keys.begin(), keys.end());
}

std::vector<Key> what_is_trained(Config& c) {
  return {
      Key("run.name", &c.run.name).or_null(),
      Key("run.dir", &c.run.dir).or_null().also_known_as({"output_dir", "folder"}),
      Key("run.seed", &c.run.seed),
      Key("run.stall_timeout_s", &c.run.stall_timeout_s).above(0).at_most(1e9),

      Key("model.path", &c.model.path).or_null().also_known_as({"model_name_or_path"}),
      Key("model.from_scratch", &c.model.from_scratch),
      Key("model.config", &c.model.config),
      Key("model.dtype", &c.model.dtype).one_of({"float32", "bfloat16"}).also_known_as({"precision"}),
      Key("model.recompute", &c.model.recompute)
          .one_of({"none", "selective", "full"})
          .also_known_as({"gradient_checkpointing", "activation_checkpointing"}),

      Key("tokenizer.path", &c.tokenizer.path).or_null(),
      Key("tokenizer.kind", &c.tokenizer.kind).one_of({"auto", "byte"}),

      Key("data.train", &c.data.train),
      Key("data.eval", &c.data.eval),
      Key("data.sequence_length", &c.data.sequence_length)
          .from_to(1, 2147483647)
          .also_known_as({"seq_length", "seq_len", "max_length", "block_size", "context_length"}),
      Key("data.packing", &c.data.packing),
      Key("data.shuffle", &c.data.shuffle),
  };
}

std::vector<Key> how_it_is_trained(Config& c) {
  return {
      Key("train.steps", &c.train.steps).from_to(1, kMostSteps).also_known_as({"max_steps", "num_steps"}),
      Key("train.epochs", &c.train.epochs)
          .from_to(1, kMostSteps)
          .also_known_as({"num_train_epochs", "max_epochs"}),
      Key("train.micro_batch_size", &c.train.micro_batch_size)
          .from_to(1, 2147483647)
          .also_known_as({"batch_size", "per_device_train_batch_size"}),
      Key("train.gradient_accumulation_steps", &c.train.gradient_accumulation_steps).from_to(1, 1 << 20),
      Key("train.clip_grad_norm", &c.train.clip_grad_norm).at_least(0).also_known_as({"max_grad_norm"}),
      Key("train.clip_grad_value", &c.train.clip_grad_value).at_least(0).only("0.0"),
      Key("train.loss", &c.train.loss),

      Key("parallel.dp_size", &c.parallel.dp_size).from_to(1, kMostRanks),
      Key("parallel.tp_size", &c.parallel.tp_size).from_to(1, kMostRanks),
      Key("parallel.pp_size", &c.parallel.pp_size).from_to(1, kMostRanks),
      Key("parallel.cp_size", &c.parallel.cp_size).from_to(1, kMostRanks),
      Key("parallel.sequence_parallel", &c.parallel.sequence_parallel),
      Key("parallel.zero_stage", &c.parallel.zero_stage).from_to(0, 3),
      Key("parallel.offload", &c.parallel.offload)
          .one_of({"none", "optimizer", "activations", "all"})
          .not_yet({"parameters"}),
      Key("parallel.bucket_elements", &c.parallel.bucket_elements).from_to(1, 1e12),
      Key("parallel.schedule", &c.parallel.schedule)
          .one_of({"gpipe", "1f1b", "interleaved_1f1b", "zb_h1", "zbv", "dualpipe_v"})
          .or_ending(".csv"),
      Key("parallel.virtual_stages", &c.parallel.virtual_stages).from_to(1, 1024),
      Key("parallel.partition", PartitionTarget{&c.parallel.partition, &c.parallel.partition_list})
          .from_to(0, 2147483647)
          .one_of({"parameters", "uniform", "measured"}),

      Key("optimizer.name", &c.optimizer.name),
      Key("optimizer.lr", &c.optimizer.lr).at_least(0).also_known_as({"learning_rate"}),
      Key("optimizer.betas", &c.optimizer.betas).from_to_below(0, 1),
      Key("optimizer.eps", &c.optimizer.eps).above(0).also_known_as({"epsilon"}),
      Key("optimizer.weight_decay", &c.optimizer.weight_decay).at_least(0),
      Key("optimizer.master", &c.optimizer.master),
      Key("optimizer.grad_dtype", &c.optimizer.grad_dtype).one_of({"float32", "bfloat16"}),
      Key("optimizer.rounding", &c.optimizer.rounding).one_of({"nearest", "stochastic"}),
      Key("optimizer.groups", &c.optimizer.groups).only("[]"),

      Key("lr_scheduler.name", &c.lr_scheduler.name).also_known_as({"type", "lr_scheduler_type"}),
      Key("lr_scheduler.warmup_steps", &c.lr_scheduler.warmup_steps).from_to(0, kMostSteps),
      Key("lr_scheduler.min_lr_ratio", &c.lr_scheduler.min_lr_ratio).from_to(0, 1),

      Key("peft.type", &c.peft.type).one_of({"none"}).not_yet({"lora", "dora"}),
      Key("quantization.kind", &c.quantization.kind).one_of({"none"}).not_yet({"nf4", "int8"}),
  };
}

std::vector<Key> what_goes_on_around_it(Config& c) {
  return {
      Key("eval.every_n_steps", &c.eval.every_n_steps).from_to(0, kMostSteps).also_known_as({"eval_steps"}),
      Key("eval.every_n_epochs", &c.eval.every_n_epochs).from_to(0, kMostSteps),

      Key("checkpoint.every_n_steps", &c.checkpoint.every_n_steps)
          .from_to(0, kMostSteps)
          .also_known_as({"save_steps"}),
      Key("checkpoint.keep_last", &c.checkpoint.keep_last)
          .from_to(1, kMostSteps)
          .also_known_as({"save_total_limit"}),

      Key("monitor.console", &c.monitor.console).one_of({"auto", "plain", "progress", "none"}),
      Key("monitor.tensorboard", &c.monitor.tensorboard)
          .warn_if_true("TensorBoard files are not written yet; metrics.jsonl has the same numbers"),
      Key("monitor.csv", &c.monitor.csv)
          .warn_if_true("CSV files are not written yet; metrics.jsonl has the same numbers"),
      Key("monitor.trace", &c.monitor.trace),

      Key("callbacks", &c.callbacks),
      Key("plugins", &c.plugins).only("[]"),

      Key("cluster.nodes", &c.cluster.nodes),
      Key("cluster.trusted_network", &c.cluster.trusted_network),
      Key("cluster.secret_file", &c.cluster.secret_file).or_null(),
      Key("cluster.tls.certificate", &c.cluster.tls.certificate).or_null(),
      Key("cluster.tls.key", &c.cluster.tls.key).or_null(),
      Key("cluster.tls.ca", &c.cluster.tls.ca).or_null(),

      Key("device.kind", &c.device.kind).one_of({"auto", "cpu", "cuda"}),
      Key("device.threads", &c.device.threads).from_to(0, 4096).also_known_as({"num_threads"}),
      Key("device.graphs", &c.device.graphs).one_of({"off", "auto"}),
  };
}

}  // namespace

std::vector<Key> schema(Config& config) {
  std::vector<Key> all = what_is_trained(config);
  add(all, how_it_is_trained(config));
  add(all, what_goes_on_around_it(config));
  return all;
}

std::vector<Key> source_schema(DataSource& source, const std::string& path) {
  return {
      Key(path + ".path", &source.path).or_null().also_known_as({"file", "files"}),
      Key(path + ".format", &source.format).one_of({"text", "jsonl"}).also_known_as({"type", "kind"}),
      Key(path + ".weight", &source.weight).above(0).only("1.0"),
      Key(path + ".text", &source.text).or_null(),
      Key(path + ".prompt", &source.prompt).or_null(),
      Key(path + ".completion", &source.completion).or_null().also_known_as({"response", "answer"}),
  };
}

}  // namespace collie::config
