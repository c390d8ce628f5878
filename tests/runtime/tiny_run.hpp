// A training run that takes milliseconds: a model of a few thousand parameters that reads bytes.
#pragma once

#include <fstream>
#include <sstream>
#include <string>

#include "plan/run_plan.hpp"
#include "tests/io/temporary_folder.hpp"

namespace collie::test {

// Two ranks, four steps of eight sequences (an epoch and a half), evaluated and saved every two.
inline Config tiny_run(const TemporaryFolder& folder, const std::string& name = "run") {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "The " + std::to_string(i * i) + "th collie herds sheep. ";
  folder.write("train.txt", text);
  folder.write("eval.txt", text.substr(0, 100));
  Config config;
  config.run.name = name;
  config.run.dir = (folder / name).string();
  config.model.from_scratch = true;
  config.model.config = {{"model_type", "llama"},         {"hidden_size", 16},
                         {"intermediate_size", 24},       {"num_hidden_layers", 2},
                         {"num_attention_heads", 2},      {"num_key_value_heads", 1},
                         {"max_position_embeddings", 64}, {"tie_word_embeddings", true}};
  config.tokenizer.kind = "byte";
  DataSource source;
  source.path = (folder / "train.txt").string();
  config.data.train = {source};
  source.path = (folder / "eval.txt").string();
  config.data.eval = {source};
  config.data.sequence_length = 32;
  config.train.steps = 4;
  config.train.micro_batch_size = 2;
  config.train.gradient_accumulation_steps = 4;
  config.parallel.pp_size = 2;
  config.optimizer.options.set("lr", 1e-2);
  config.lr_scheduler.options.set("warmup_steps", int64_t{2});
  config.eval.every_n_steps = 2;
  config.checkpoint.every_n_steps = 2;
  config.monitor.console = "none";
  config.monitor.tensorboard = config.monitor.csv = false;
  config.device.threads = 2;
  return config;
}

inline std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

}  // namespace collie::test
