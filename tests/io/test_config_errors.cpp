// What a configuration is refused for, and in which words.
#include <sys/stat.h>

#include <cmath>
#include <fstream>
#include <thread>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/config.hpp"
#include "io/config_tree.hpp"
#include "tests/catch.hpp"
#include "tests/io/scratch_folder.hpp"

using namespace collie;
using collie::config::longest_yaml;
using collie::test::ScratchFolder;

namespace {

struct Refusal {
  std::string yaml, message;
};

std::string refusal_of(const std::string& yaml, const std::vector<std::string>& settings = {}) {
  const ScratchFolder folder;
  const std::string file = folder.write("c.yaml", yaml);
  std::vector<std::string> warnings;
  try {
    load_config(file, settings, warnings);
  } catch (const UserError& error) {
    std::string message = error.what();
    const size_t at = message.find(folder.path() + "/");
    return at == std::string::npos ? message : message.erase(at, folder.path().size() + 1);
  }
  return "accepted";
}

void check(const std::vector<Refusal>& refusals) {
  for (const auto& [yaml, message] : refusals) {
    CAPTURE(yaml);
    const std::string found = refusal_of(yaml);
    // What ends in a list of metrics, which others may add to, says so by a space.
    CHECK((message.ends_with(" ") ? found.substr(0, message.size()) : found) == message);
  }
}

template <class Require>
std::string missing(Require require, const Config& config) {
  try {
    require(config);
  } catch (const UserError& error) {
    return error.what();
  }
  return "nothing";
}

std::string check_message(const Config& config) {
  std::vector<std::string> warnings;
  return missing([&](const Config& c) { check_config(c, warnings); }, config);
}

const std::string kSections =
    "run, model, tokenizer, data, train, parallel, optimizer, lr_scheduler, peft, quantization, eval, "
    "checkpoint, "
    "monitor, callbacks, plugins, cluster, device";
const std::string kPartition = "one of parameters, uniform, measured, or a list of layers per stage,";
const std::string kColumns = "either text: KEY, or prompt: KEY and completion: KEY, is wanted";

}  // namespace

TEST_CASE("an unknown key is refused with the nearest valid one") {
  check({
      {"optimizer:\n  name: adamw\n  lrr: 1",
       "c.yaml:3: optimizer.lrr: unknown key; the nearest valid key is optimizer.lr (the options of adamw "
       "are lr, "
       "betas, eps, weight_decay)"},
      {"optimizer: {groups: [{match: [a], beta: [0.9, 0.9]}]}",
       "c.yaml:1: optimizer.groups.0.beta: unknown key; the nearest valid key is optimizer.groups.0.betas "
       "(the options "
       "of adamw are lr, betas, eps, weight_decay)"},
      {"train: {lr: 1}", "c.yaml:1: train.lr: unknown key; the nearest valid key is optimizer.lr"},
      {"\nlr: 1", "c.yaml:2: lr: unknown key; the nearest valid key is optimizer.lr"},
      {"optimiser: {lr: 1}", "c.yaml:1: optimiser: unknown key; the nearest valid key is optimizer"},
      {"training: {steps: 1}", "c.yaml:1: training: unknown key; the nearest valid key is train"},
      {"train: {setps: 1}", "c.yaml:1: train.setps: unknown key; the nearest valid key is train.steps"},
      {"train: {batch-size: 3}",
       "c.yaml:1: train.batch-size: unknown key; the nearest valid key is train.micro_batch_size"},
      {"train: {Steps: 3}", "c.yaml:1: train.Steps: unknown key; the nearest valid key is train.steps"},
      {"lr_scheduler: {warmup: 3}",
       "c.yaml:1: lr_scheduler.warmup: unknown key; the nearest valid key is lr_scheduler.warmup_steps "
       "(the options of cosine are warmup_steps, warmup_ratio, min_lr_ratio)"},
      {"optimizer: {learning_rate: 3}",
       "c.yaml:1: optimizer.learning_rate: unknown key; the nearest valid key is optimizer.lr (the options "
       "of adamw are lr, betas, eps, weight_decay)"},
      {"train: {seq_len: 3}",
       "c.yaml:1: train.seq_len: unknown key; the nearest valid key is data.sequence_length"},
      {"cluster: {tls: {cert: x}}",
       "c.yaml:1: cluster.tls.cert: unknown key; the nearest valid key is cluster.tls.certificate"},
      {"data: {train: [{pth: x}]}",
       "c.yaml:1: data.train.0.pth: unknown key; the nearest valid key is data.train.0.path"},
      {"data:\n  train:\n    - {path: x}\n    - {path: x, sequence_length: 3}",
       "c.yaml:4: data.train.1.sequence_length: unknown key; the nearest valid key is data.sequence_length"},
      {"foo: 1", "c.yaml:1: foo: unknown key; the sections are " + kSections},
      {"peft: {rank: 8}", "c.yaml:1: peft.rank: unknown key; the nearest valid key is peft.r"},
      {"lr_scheduler: {'': 3}",
       "c.yaml:1: lr_scheduler.: unknown key; the keys of lr_scheduler are name, warmup_steps, "
       "warmup_ratio, min_lr_ratio (the options of cosine are warmup_steps, warmup_ratio, min_lr_ratio)"},
  });
}

TEST_CASE("sets of eval.sets: what does not fit is refused, with the nearest name") {
  const auto in_set = [](const std::string& keys) { return "eval:\n  sets:\n    - {" + keys + "}"; };
  const std::string choice = "name: a, kind: classification, path: x, prompt: q, label: l, ";
  const std::string text = "name: a, kind: generation, path: x, prompt: q, ";
  check({
      {in_set("name: a, kind: perplexty, path: x"),
       "c.yaml:3: eval.sets.0.kind: found 'perplexty'; one of perplexity, classification, generation is "
       "wanted"},
      {in_set("name: a, pth: x"),
       "c.yaml:3: eval.sets.0.pth: unknown key; the nearest valid key is eval.sets.0.path"},
      {in_set("path: x"),
       "c.yaml:3: eval.sets.0.name: found ''; a name of letters, digits, _, - and . is wanted, at most 100 "
       "characters, since files have it"},
      {in_set("name: a/b, path: x"),
       "c.yaml:3: eval.sets.0.name: found 'a/b'; a name of letters, digits, _, - and . is wanted, at most "
       "100 "
       "characters, since files have it"},
      {in_set("name: a"),
       "c.yaml:3: eval.sets.0.path: missing; a file or a pattern such as data/*.jsonl is wanted"},
      {in_set("name: a, path: x}\n    - {name: a, path: y"),
       "c.yaml:4: eval.sets.1.name: found 'a' a second time; each set has a name of its own"},
      {in_set("name: a, path: x, options: [b, c]"),
       "c.yaml:3: eval.sets.0.options: found in a set of kind perplexity; it belongs to kind classification"},
      {in_set("name: a, path: x, temperature: 1.0"),
       "c.yaml:3: eval.sets.0.temperature: found in a set of kind perplexity; it belongs to kind "
       "classification and kind generation"},
      {in_set("name: a, path: x, format: jsonl"),
       "c.yaml:3: eval.sets.0: found none of text, prompt, completion with format jsonl; " + kColumns},
      {in_set("name: a, kind: classification, path: x, prompt: q"),
       "c.yaml:3: eval.sets.0.label: missing; the key of the right option's number or text is wanted"},
      {in_set("name: a, kind: classification, path: x, label: l"),
       "c.yaml:3: eval.sets.0.prompt: missing; a key of a record, or a text with keys in braces is wanted"},
      {in_set(choice + "format: chat, options: [a, b]"),
       "c.yaml:3: eval.sets.0.format: found chat in a set of kind classification; jsonl is wanted"},
      {in_set(choice + "score: sum"),
       "c.yaml:3: eval.sets.0.options: found none; one of options: [TEXT, ...] and options_column: KEY is "
       "wanted"},
      {in_set(choice + "options: [a, b], options_column: o"),
       "c.yaml:3: eval.sets.0.options: found both; one of options: [TEXT, ...] and options_column: KEY is "
       "wanted"},
      {in_set(choice + "options: [a]"),
       "c.yaml:3: eval.sets.0.options: found one option; two at least are something to choose from"},
      {in_set(choice + "options: [a, b], stop: [x]"),
       "c.yaml:3: eval.sets.0.stop: found with method likelihood, which generates nothing; method: text "
       "does"},
      {in_set(choice + "options: [a, b], method: text, score: mean"),
       "c.yaml:3: eval.sets.0.score: found with method text, which has no scores; method: likelihood does"},
      {in_set(text + "max_new_tokens: 3"),
       "c.yaml:3: eval.sets.0.reference: missing; the key of the text that is right, or a template is "
       "wanted"},
      {in_set(text + "reference: r, num_beams: 4"),
       "c.yaml:3: eval.sets.0.num_beams: 4 is not supported yet; only 1 is"},
      {in_set(text + "reference: r, top_p: 2.0"),
       "c.yaml:3: eval.sets.0.top_p: found 2; a number above 0 and at most 1 is wanted"},
      {in_set(choice + "options: [a, b], metrics: [acuracy]"),
       "c.yaml:3: eval.sets.0.metrics.0.name: unknown metric 'acuracy'; the nearest is accuracy; known: "},
      {in_set(choice + "options: [a, b], metrics: [{name: f_beta, betta: 2.0}]"),
       "c.yaml:3: eval.sets.0.metrics.0.betta: unknown key; the nearest valid key is "
       "eval.sets.0.metrics.0.beta (the options of f_beta are "},
      {in_set(choice + "options: [a, b], metrics: [accuracy, accuracy]"),
       "c.yaml:3: eval.sets.0.metrics.1.name: found accuracy a second time; the numbers of a set need names "
       "of "
       "their own"},
      {in_set("name: a, path: x, metrics: [accuracy]"),
       "c.yaml:3: eval.sets.0.metrics.0.name: the metric accuracy is of a classification set, and this is a "
       "perplexity set, which may have "},
      {in_set("name: a, path: x, metrics: [token_accuracy]"),
       "c.yaml:3: eval.sets.0.metrics.0.name: token_accuracy is not supported yet, as no pass counts right "
       "tokens"},
  });
}

TEST_CASE("an ill-typed value is refused with what was found and what is wanted") {
  check({
      {"optimizer: {lr: fast}", "c.yaml:1: optimizer.lr: found 'fast'; a number of at least 0 is wanted"},
      {"optimizer: {lr: '3e-4'}",
       "c.yaml:1: optimizer.lr: found the text \"3e-4\"; a number of at least 0 is wanted"},
      {"optimizer: {lr: !!str 3}",
       "c.yaml:1: optimizer.lr: found the text \"3\"; a number of at least 0 is wanted"},
      {"optimizer: {lr: }", "c.yaml:1: optimizer.lr: found nothing; a number of at least 0 is wanted"},
      {"optimizer: {lr: true}", "c.yaml:1: optimizer.lr: found true; a number of at least 0 is wanted"},
      {"optimizer: {lr: 1_000}", "c.yaml:1: optimizer.lr: found '1_000'; a number of at least 0 is wanted"},
      {"optimizer: {lr: 0x10}", "c.yaml:1: optimizer.lr: found '0x10'; a number of at least 0 is wanted"},
      {"optimizer:\n  lr:\n    - 1",
       "c.yaml:2: optimizer.lr: found a list; a number of at least 0 is wanted"},
      {"optimizer: {lr: {a: 1}}", "c.yaml:1: optimizer.lr: found a map; a number of at least 0 is wanted"},
      {"optimizer: {betas: 0.9}",
       "c.yaml:1: optimizer.betas: found 0.9; a list of 2 numbers, each of at least 0 and below 1 is wanted"},
      {"optimizer:\n  betas:\n    - 0.9\n    - x",
       "c.yaml:4: optimizer.betas: found 'x'; a list of 2 numbers, each of at least 0 and below 1 is wanted"},
      {"optimizer: {groups: {}}",
       "c.yaml:1: optimizer.groups: found a map; a list of groups, such as [{match: [\"*norm*\"], "
       "weight_decay: "
       "0.0}], is wanted"},
      {"optimizer: {groups: [{match: x}]}",
       "c.yaml:1: optimizer.groups.0.match: found 'x'; a list of names is wanted"},
      {"optimizer:\n  groups:\n    - {match: [x], weight_decay: no}",
       "c.yaml:3: optimizer.groups.0.weight_decay: found 'no'; a number of at least 0 is wanted"},
      {"optimizer: {groups: [x]}",
       "c.yaml:1: optimizer.groups.0: found 'x'; a map of match, name, lr_scale, lr, betas, eps, "
       "weight_decay is wanted"},
      {"optimizer: adamw",
       "c.yaml:1: optimizer: found 'adamw'; a map of name, lr, betas, eps, weight_decay, master, "
       "fused_update, grad_dtype, "
       "state_dtype, rounding, decay_norms_and_biases, "
       "groups is wanted"},
      {"train: {steps: 1.5}",
       "c.yaml:1: train.steps: found 1.5; a whole number from 1 to 1000000000, or null, is wanted"},
      {"train: {steps: 1e3}",
       "c.yaml:1: train.steps: found 1e3; a whole number from 1 to 1000000000, or null, is wanted"},
      {"train: {micro_batch_size: 2.0}",
       "c.yaml:1: train.micro_batch_size: found 2.0; a whole number from 1 to 2147483647 is wanted"},
      {"run: {name: 5}", "c.yaml:1: run.name: found 5; a text is wanted (to mean the text, write \"5\")"},
      {"run: {name: [a]}", "c.yaml:1: run.name: found a list; a text is wanted"},
      {"data: {shuffle: yes}", "c.yaml:1: data.shuffle: found 'yes'; true or false is wanted"},
      {"data: {shuffle: True}", "c.yaml:1: data.shuffle: found 'True'; true or false is wanted"},
      {"data: {shuffle: 1}", "c.yaml:1: data.shuffle: found 1; true or false is wanted"},
      {"data: {shuffle: 'true'}", "c.yaml:1: data.shuffle: found the text \"true\"; true or false is wanted"},
      {"data: {train: {path: x}}",
       "c.yaml:1: data.train: found a map; a list of sources, such as [{path: \"data/*.txt\"}], is wanted"},
      {"data: {train: [a.txt]}",
       "c.yaml:1: data.train.0: found 'a.txt'; a map of path, format, weight, text, prompt, completion, "
       "messages, tools, chat_template, tokens, labels, add_bos, add_eos is wanted"},
      {"data: {train: [~]}",
       "c.yaml:1: data.train.0: found nothing; a source such as {path: \"data/*.txt\"} is wanted"},
      {"callbacks: x",
       "c.yaml:1: callbacks: found 'x'; a list of callbacks, such as [load_best, {name: early_stopping, "
       "patience: 3}], is wanted"},
      {"callbacks: [1]",
       "c.yaml:1: callbacks.0: found 1; a name, or a map such as {name: early_stopping, patience: 3}, is "
       "wanted"},
      {"callbacks: ['']",
       "c.yaml:1: callbacks.0: found the text \"\"; a name, or a map such as {name: early_stopping, "
       "patience: 3}, is "
       "wanted"},
      {"callbacks: [{patience: 3}]",
       "c.yaml:1: callbacks.0: has no name; a map such as {name: early_stopping, patience: 3} is wanted"},
      {"callbacks: [{name: early_stopping, patients: 3}]",
       "c.yaml:1: callbacks.0.patients: unknown key; the nearest valid key is callbacks.0.patience (the "
       "options "
       "of early_stopping are metric, mode, patience, min_delta)"},
      {"callbacks: [{name: early_stopping, patience: 0}]",
       "c.yaml:1: callbacks.0.patience: found 0; a whole number from 1 to 1000000000 is wanted"},
      {"callbacks: [{name: spike_guard, action: explode}]",
       "c.yaml:1: callbacks.0.action: found 'explode'; one of skip, stop is wanted"},
      {"model: {config: [1]}", "c.yaml:1: model.config: found a list; a map is wanted"},
      {"model: {config: {x: yes}}",
       "c.yaml:1: model.config.x: found 'yes'; write true or false, or the text in quotes"},
      {"parallel: {partition: 3}",
       "c.yaml:1: parallel.partition: found 3; " + kPartition + " is wanted (to mean the text, write \"3\")"},
      {"- 1", "c.yaml:1: found a list; a map of " + kSections + " is wanted"},
  });
}

TEST_CASE("a number out of its range is refused with the range") {
  check({
      {"optimizer: {lr: -1}", "c.yaml:1: optimizer.lr: found -1; a number of at least 0 is wanted"},
      {"optimizer: {lr: .nan}", "c.yaml:1: optimizer.lr: found '.nan'; a number of at least 0 is wanted"},
      {"optimizer: {lr: inf}", "c.yaml:1: optimizer.lr: found 'inf'; a number of at least 0 is wanted"},
      {"optimizer: {lr: 1e400}",
       "c.yaml:1: optimizer.lr: found 1e400; a number of at least 0 is wanted, and one that a double can "
       "hold"},
      {"optimizer: {betas: [0.9, 1]}",
       "c.yaml:1: optimizer.betas: found 1 in the list; a list of 2 numbers, each of at least 0 and below 1 "
       "is "
       "wanted"},
      {"optimizer: {betas: []}",
       "c.yaml:1: optimizer.betas: found 0 numbers; a list of 2 numbers, each of at least 0 and below 1 is "
       "wanted"},
      {"lr_scheduler: {min_lr_ratio: 1.5}",
       "c.yaml:1: lr_scheduler.min_lr_ratio: found 1.5; a number from 0 to 1 is wanted"},
      {"train: {steps: 0}",
       "c.yaml:1: train.steps: found 0; a whole number from 1 to 1000000000, or null, is wanted"},
      {"train: {micro_batch_size: 0}",
       "c.yaml:1: train.micro_batch_size: found 0; a whole number from 1 to 2147483647 is wanted"},
      {"train: {clip_grad_value: -0.5}",
       "c.yaml:1: train.clip_grad_value: found -0.5; a number of at least 0 is wanted"},
      {"train: {steps: 99999999999999999999}",
       "c.yaml:1: train.steps: found 99999999999999999999; a whole number from 1 to 1000000000, or null, "
       "is wanted"},
      {"parallel: {pp_size: 99999999999}",
       "c.yaml:1: parallel.pp_size: found 99999999999; a whole number from 1 to 16384 is wanted"},
      {"run: {seed: -1}", "c.yaml:1: run.seed: found -1; a whole number is wanted, and not a negative one"},
      {"run: {seed: 18446744073709551616}",
       "c.yaml:1: run.seed: found 18446744073709551616; a whole number is wanted, and at most "
       "18446744073709551615"},
      {"run: {stall_timeout_s: 0}",
       "c.yaml:1: run.stall_timeout_s: found 0; a number above 0 and at most 1000000000 is wanted"},
      {"checkpoint: {keep_last: 0}",
       "c.yaml:1: checkpoint.keep_last: found 0; a whole number from 1 to 1000000000 is wanted"},
      {"device: {threads: -1}",
       "c.yaml:1: device.threads: found -1; a whole number from 0 to 4096 is wanted"},
      {"parallel: {dp_size: 0}",
       "c.yaml:1: parallel.dp_size: found 0; a whole number from 1 to 16384 is wanted"},
      {"parallel: {zero_stage: 4}",
       "c.yaml:1: parallel.zero_stage: found 4; a whole number from 0 to 3 is wanted"},
      {"parallel: {partition: [-1]}",
       "c.yaml:1: parallel.partition: found -1 in the list; " + kPartition + " is wanted"},
      {"parallel: {partition: []}",
       "c.yaml:1: parallel.partition: found an empty list; " + kPartition + " is wanted"},
      {"parallel: {partition: [1, 2]}",
       "c.yaml:1: parallel.partition: found 2 numbers; one for each of the 1 stages (pp_size x "
       "virtual_stages) is wanted"},
      {"parallel: {schedule: zbv, virtual_stages: 2, partition: [1, 2, 3]}",
       "c.yaml:1: parallel.partition: found 3 numbers; one for each of the 2 stages (pp_size x "
       "virtual_stages) is wanted"},
      {"data: {train: [{path: x, weight: -1}]}",
       "c.yaml:1: data.train.0.weight: found -1; a number of at least 0 is wanted"},
      {"data: {train: [{path: x, weight: 1.0e-9}]}",
       "c.yaml:1: data.train.0.weight: found 1e-09; a weight from 1e-06 to 1000000, or 0, is wanted"},
      {"data: {eval: [{path: x, weight: 2}]}",
       "c.yaml:1: data.eval.0.weight: found 2; an evaluation reads every document once, so that only "
       "data.train "
       "has weights"},
      {"model: {config: {x: .inf}}",
       "c.yaml:1: model.config.x: found '.inf'; a finite number is wanted, or the text in quotes"},
      {"model: {config: {x: 1e999}}",
       "c.yaml:1: model.config.x: found 1e999; the number does not fit into a double"},
      {"train: {micro_batch_size: 9}\ndata: {sequence_length: 1000000000}",
       "c.yaml:1: train.micro_batch_size: found 9 with sequences of 1000000000 tokens; a micro-batch of at "
       "most 2147483647 "
       "tokens is wanted"},
  });
}

TEST_CASE("services that numbers could be sent to are refused with what to use instead") {
  const std::string sinks =
      "; the sinks are monitor.tensorboard, monitor.csv, monitor.prometheus and metrics.jsonl";
  const std::string lines = "; its own client can log each line of metrics.jsonl";
  const std::string wandb =
      "Weights & Biases is no sink of the engine; `wandb sync` reads the event files that "
      "monitor.tensorboard writes";
  check({
      {"monitor: {wandb: true}", "c.yaml:1: monitor.wandb: unknown key; " + wandb + sinks},
      {"run: {name: x}\nwandb: {project: x}", "c.yaml:2: wandb: unknown key; " + wandb + sinks},
      {"monitor: {use_wandb: true}", "c.yaml:1: monitor.use_wandb: unknown key; " + wandb + sinks},
      {"monitor: {mlflow: x}",
       "c.yaml:1: monitor.mlflow: unknown key; MLflow is no sink of the engine" + lines + sinks},
      {"monitor: {comet: x}",
       "c.yaml:1: monitor.comet: unknown key; Comet is no sink of the engine" + lines + sinks},
      {"train: {report_to: wandb}",
       "c.yaml:1: train.report_to: unknown key; each sink has a key of its own" + sinks},
  });
}

TEST_CASE("keys of the monitor that contradict each other are refused") {
  check({
      {"monitor: {prometheus_open: true}",
       "c.yaml:1: monitor.prometheus_open: true, but monitor.prometheus has no address; HOST:PORT is wanted "
       "there"},
      {"monitor: {peak_flops: -1}",
       "c.yaml:1: monitor.peak_flops: found -1; a number of at least 0 is wanted"},
  });
}

TEST_CASE("a text outside its list is refused with the list") {
  check({
      {"model: {dtype: fp32}", "c.yaml:1: model.dtype: found 'fp32'; one of float32, bfloat16 is wanted"},
      {"monitor: {console: tty}",
       "c.yaml:1: monitor.console: found 'tty'; one of auto, plain, progress, none is wanted"},
      {"quantization: {kind: int4}",
       "c.yaml:1: quantization.kind: found 'int4'; one of none, nf4, fp4, int8 is wanted"},
      {"quantization: {kind: nf4, block_size: 48}",
       "c.yaml:1: quantization.block_size: found 48; 32, 64, 128, 256, 512, 1024, 2048 or 4096 is wanted"},
      {"quantization: {kind: nf4, compute_dtype: bfloat16}",
       "c.yaml:1: quantization.compute_dtype: found bfloat16, but products are computed in model.dtype, "
       "float32; auto is "
       "right"},
      {"peft: {r: 8}", "c.yaml:1: peft.r: given, but peft.type is none; peft.type: lora is wanted with it"},
      {"quantization: {skip: [q_proj]}",
       "c.yaml:1: quantization.skip: given, but quantization.kind is none; nf4, fp4 or int8 is wanted with "
       "it"},
      {"tokenizer: {kind: bpe}", "c.yaml:1: tokenizer.kind: found 'bpe'; one of auto, byte is wanted"},
      {"parallel: {partition: half}",
       "c.yaml:1: parallel.partition: found 'half'; " + kPartition + " is wanted"},
      {"data: {eval: [{path: x, format: csv}]}",
       "c.yaml:1: data.eval.0.format: found 'csv'; one of text, jsonl, chat, tokens is wanted"},
  });
}

TEST_CASE("an unknown optimizer, a group and options that contradict each other are refused") {
  CHECK(refusal_of("optimizer:\n  lrr: 1\n  name: adam_w")
            .starts_with("c.yaml:3: optimizer.name: unknown optimizer 'adam_w'; known: adafactor, "));
  CHECK(refusal_of("optimizer: {groups: [{match: [a], name: adamm}]}")
            .starts_with("c.yaml:1: optimizer.groups.0.name: unknown optimizer 'adamm'; known: adafactor, "));
  check({
      {"optimizer: {groups: [{lr: 1}]}",
       "c.yaml:1: optimizer.groups.0.match: missing; a list of patterns for the names of parameters, such as "
       "[\"*norm*\"], is wanted"},
      {"optimizer: {groups: [{match: [a], lr: 1, lr_scale: 2}]}",
       "c.yaml:1: optimizer.groups.0.lr_scale: found beside lr; one of the two is wanted"},
      {"optimizer: {groups: [{match: [a], lr_scale: -1}]}",
       "c.yaml:1: optimizer.groups.0.lr_scale: found -1; a number of at least 0 is wanted"},
      {"optimizer: {name: muon, ns_steps: 1.5}",
       "c.yaml:1: optimizer.ns_steps: found 1.5; a whole number from 1 to 100 is wanted"},
      {"optimizer: {name: muon, ns_steps: 101}",
       "c.yaml:1: optimizer.ns_steps: found 101; a whole number from 1 to 100 is wanted"},
      {"optimizer: {name: sophia, hessian_interval: 2.5}",
       "c.yaml:1: optimizer.hessian_interval: found 2.5; a whole number from 1 to 1000000000 is wanted"},
      {"optimizer: {groups: [{match: [a], name: sophia, hessian_interval: 0}]}",
       "c.yaml:1: optimizer.groups.0.hessian_interval: found 0; a whole number from 1 to 1000000000 is "
       "wanted"},
  });
}

TEST_CASE("each schedule has options of its own") {
  const std::string step = "lr_scheduler:\n  name: step\n  ";
  CHECK(refusal_of("lr_scheduler:\n  name: staircase")
            .starts_with("c.yaml:2: lr_scheduler.name: unknown learning-rate schedule 'staircase'; known: "
                         "constant, cosine"));
  check({
      {"lr_scheduler:\n  min_lr_ratio: 0.1\n  name: constant",
       "c.yaml:2: lr_scheduler.min_lr_ratio: unknown key; the keys of lr_scheduler are name, warmup_steps, "
       "warmup_ratio (the options of constant are warmup_steps, warmup_ratio)"},
      {"lr_scheduler:\n  warmup_steps: 3\n  warmup_ratio: 0.5",
       "c.yaml:3: lr_scheduler.warmup_ratio: found beside warmup_steps; one of the two is wanted (null for "
       "the "
       "other is right)"},
      {"lr_scheduler: {warmup_steps: null, warmup_ratio: 0.5}", "accepted"},
      {"lr_scheduler: {warmup_steps: null, warmup_ratio: null}", "accepted"},
      {"lr_scheduler: {warmup_ratio: 1.5}",
       "c.yaml:1: lr_scheduler.warmup_ratio: found 1.5; a number from 0 to 1, or null, is wanted"},
      {"lr_scheduler: {warmup_steps: 1.5}",
       "c.yaml:1: lr_scheduler.warmup_steps: found 1.5; a whole number from 0 to 1000000000, or null, is "
       "wanted"},
      {"lr_scheduler: {warmup_steps: -1}",
       "c.yaml:1: lr_scheduler.warmup_steps: found -1; a whole number from 0 to 1000000000, or null, is "
       "wanted"},
      {step + "gamma: 0.5",
       "c.yaml:1: lr_scheduler.step_size: missing; the number of steps for which a rate is kept is wanted"},
      {step + "step_size: 0",
       "c.yaml:3: lr_scheduler.step_size: found 0; a whole number from 1 to 1000000000, or "
       "null, is wanted"},
      {step + "step_size: 9\n  gamma: 2",
       "c.yaml:4: lr_scheduler.gamma: found 2; a number above 0 and at most 1 is wanted"},
      {step + "step_size: 9", "accepted"},
      {"lr_scheduler: {name: one_cycle, anneal_strategy: cosine}",
       "c.yaml:1: lr_scheduler.anneal_strategy: found 'cosine'; one of cos, linear is wanted"},
      {"lr_scheduler: {name: one_cycle, pct_start: 0.75, three_phase: true}",
       "c.yaml:1: lr_scheduler.pct_start: found 0.75 with three_phase; at most 0.5 is wanted, as the rate "
       "falls "
       "for as long as it has risen"},
      {"lr_scheduler: {name: warmup_stable_decay, decay_steps: 5, decay_type: 1-sqrt}", "accepted"},
      {"lr_scheduler: {name: warmup_stable_decay, decay_steps: 5, decay_ratio: 0.5}",
       "c.yaml:1: lr_scheduler.decay_ratio: found beside decay_steps; one of the two is wanted (null for the "
       "other "
       "is right)"},
  });
}

TEST_CASE("each optimizer has options of its own") {
  const std::string options = " (the options of sgd are lr, momentum, dampening, nesterov, weight_decay)";
  check({
      {"optimizer:\n  name: sgd\n  betas: [0.9, 0.95]",
       "c.yaml:3: optimizer.betas: unknown key; the keys of optimizer are name, lr, momentum, dampening, "
       "nesterov, "
       "weight_decay, master, fused_update, grad_dtype, state_dtype, rounding, decay_norms_and_biases, "
       "groups" +
           options},
      {"optimizer: {name: sgd, momentun: 0.9}",
       "c.yaml:1: optimizer.momentun: unknown key; the nearest valid key is optimizer.momentum" + options},
      {"optimizer: {groups: [{match: [a], name: sgd, eps: 1}]}",
       "c.yaml:1: optimizer.groups.0.eps: unknown key; the keys of optimizer.groups.0 are match, name, "
       "lr_scale, lr, "
       "momentum, dampening, nesterov, weight_decay" +
           options},
      {"optimizer: {name: sgd, nesterov: 1}",
       "c.yaml:1: optimizer.nesterov: found 1; true or false is wanted"},
      {"optimizer:\n  name: sgd\n  nesterov: true",
       "c.yaml:3: optimizer.nesterov: found true with momentum 0 and dampening 0; it needs a momentum above "
       "0 and no "
       "dampening"},
      {"optimizer:\n  name: sgd\n  momentum: 0.9\n  groups:\n    - {match: [a], nesterov: true, dampening: "
       "0.5}",
       "c.yaml:5: optimizer.groups.0.nesterov: found true with momentum 0.9 and dampening 0.5; it needs a "
       "momentum "
       "above 0 and no dampening"},
      {"optimizer: {name: sgd, momentum: 1}",
       "c.yaml:1: optimizer.momentum: found 1; a number of at least 0 and below 1 is wanted"},
      {"optimizer: {name: sgd, momentum: 0.9, nesterov: true, weight_decay: 0}", "accepted"},
  });
  CHECK(refusal_of("optimizer: {betas: [0.9, 0.95]}", {"optimizer.name=sgd"})
            .starts_with("c.yaml:1: optimizer.betas"));
}

TEST_CASE("what the engine lacks so far is refused as such") {
  check({
      {"parallel: {offload: parameters}",
       "c.yaml:1: parallel.offload: parameters is not supported yet; only none, optimizer, activations, all "
       "are"},
  });
}

TEST_CASE("AdaLoRA whose ranks cannot be chosen is refused") {
  const std::string no_key =
      ": given, but peft.type is adalora, which has no such key; its keys are beta1, beta2, bias, deltaT, "
      "init_lora_weights, init_r, layers_to_transform, lora_alpha, lora_dropout, modules_to_save, "
      "orth_reg_weight, target_modules, target_r, tfinal, tinit, total_step";
  check({
      {"peft: {type: adalora, target_r: 12}",
       "c.yaml:1: peft.target_r: found 12, but peft.init_r is 12, and ranks are lost; less than that is "
       "wanted"},
      {"peft: {type: adalora, beta1: 1}",
       "c.yaml:1: peft.beta1: found 1; a number above 0 and below 1 is wanted"},
      {"peft: {type: adalora, beta2: 0}", "c.yaml:1: peft.beta2: found 0; a number above 0 is wanted"},
      {"peft: {type: adalora, deltaT: 0}",
       "c.yaml:1: peft.deltaT: found 0; a whole number of at least 1 is wanted"},
      {"peft: {type: adalora, orth_reg_weight: -1}",
       "c.yaml:1: peft.orth_reg_weight: found -1; a number of at least 0 is wanted"},
      {"peft: {type: adalora, r: 4}", "c.yaml:1: peft.r" + no_key},
      {"peft: {type: adalora, use_dora: true}", "c.yaml:1: peft.use_dora" + no_key},
      {"peft: {type: adalora, rank_pattern: {q_proj: 4}}", "c.yaml:1: peft.rank_pattern" + no_key},
      {"peft: {type: adalora, init_lora_weights: pissa}",
       "c.yaml:1: peft.init_lora_weights: found pissa, but adalora begins in a way of its own; true is "
       "right"},
      {"peft: {type: lora, tinit: 4}",
       "c.yaml:1: peft.tinit: given, but peft.type is lora, which has no such key; its keys are "
       "alpha_pattern, "
       "bias, init_lora_weights, layers_to_transform, lora_alpha, lora_dropout, loraplus_lr_ratio, "
       "modules_to_save, r, rank_pattern, target_modules, use_dora, use_rslora"},
      {"peft: {type: lora, rank_pattern: {q_proj: 0}}",
       "c.yaml:1: peft.rank_pattern.q_proj: found 0; a whole number from 1 to 65536 is wanted"},
  });
}

TEST_CASE("plugins that are no plugins are refused before anything else is read") {
  check({
      {"optimizer: {name: mine}\nplugins: [x.so]",
       "c.yaml:2: plugins: cannot read x.so: No such file or directory"},
      {"plugins: x.so", "c.yaml:1: plugins: found 'x.so'; a list of names is wanted"},
      {"plugins: [3]",
       "c.yaml:1: plugins: found 3; a list of names is wanted (to mean the text, write \"3\")"},
  });
}

TEST_CASE("a data source without its columns, or with too many, is refused") {
  const std::string list = "data:\n  train:\n    - {path: a}\n    - {path: b, ";
  check({
      {list + "format: jsonl}",
       "c.yaml:4: data.train.1: found none of text, prompt, completion with format jsonl; " + kColumns},
      {list + "format: jsonl, text: t, prompt: p}",
       "c.yaml:4: data.train.1: found text, prompt with format jsonl; " + kColumns},
      {list + "format: jsonl, prompt: p}",
       "c.yaml:4: data.train.1: found prompt with format jsonl; " + kColumns},
      {list + "format: jsonl, completion: p}",
       "c.yaml:4: data.train.1: found completion with format jsonl; " + kColumns},
      {list + "text: t}",
       "c.yaml:4: data.train.1.text: found with format text; text, prompt and completion belong to format "
       "jsonl"},
      {"data:\n  eval:\n    - format: text",
       "c.yaml:3: data.eval.0.path: missing; a file or a pattern such as data/*.txt is wanted"},
  });
}

TEST_CASE("what is not one plain YAML document is refused with its line") {
  check({
      {"run: {name: a}\nrun: {dir: b}",
       "c.yaml:2: run: the key is given twice (first on line 1); keep one of the two"},
      {"run:\n  name: a\n  dir: x\n  name: b",
       "c.yaml:4: run.name: the key is given twice (first on line 2); keep one of the two"},
      {"model: {config: {a: 1, a: 2}}",
       "c.yaml:1: model.config.a: the key is given twice (first on line 1); keep one of the two"},
      {"train: {steps: 1}\na: b: c", "c.yaml:2: not valid YAML: illegal map value"},
      {"run: {name: *x}", "c.yaml:1: not valid YAML: the referenced anchor is not defined"},
      {"---\na: 1\n---\nb: 2",
       "c.yaml: found a second YAML document (---), or text after the first; one is wanted"},
      {"[1]: 2", "c.yaml:1: a key is a list or a map; a key has to be a text"},
      {"run: {name: !foo x}", "c.yaml:1: run.name: unknown tag !foo; write the value without it"},
      {"run: {<<: 3}", "c.yaml:1: run.<<: found 3; a map (*ANCHOR) is wanted"},
  });
  CHECK(refusal_of("a: &a [*a, *a]").find("more than 100 lists and maps are one inside the other") !=
        std::string::npos);
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    bomb += fmt::format("a{}: &a{} [", i, i);
    for (int j = 0; j < 10; ++j) bomb += fmt::format("*a{}, ", i - 1);
    bomb += "x]\n";
  }
  CHECK(refusal_of(bomb).find("more than 100000 values") != std::string::npos);
  std::string texts = "a: &a " + std::string(1 << 16, 'x') + "\nb: [";
  for (int i = 0; i < 1000; ++i) texts += "*a, ";
  CHECK(refusal_of(texts + "x]").find("more than 16777216 bytes of text") != std::string::npos);
  CHECK(refusal_of("run: {" + std::string(257, 'x') + ": 1}")
            .find("a key of 257 bytes; no key has more than 256") != std::string::npos);
}

TEST_CASE("a deep configuration is refused with its line, however it nests") {
  const auto repeated = [](const std::string& text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += text;
    return all;
  };
  const std::string deep =
      ": more than 100 lists and maps are one inside the other, once aliases are resolved";
  for (const int depth : {101, 600, 100000, 1000000})
    for (const char* opening : {"[", "{", "[[{a: ", "{a: ", "- ", "? ", "- ? "}) {
      CAPTURE(depth, opening);
      const std::string message = refusal_of("\nrun:\n  " + repeated(opening, depth) + "x");
      CHECK(message.find("c.yaml:") < 20);
      CHECK(message.size() < 300);
    }
  CHECK(refusal_of("\nrun: " + repeated("[", 101) + repeated("]", 101)).find(deep) != std::string::npos);
  CHECK(refusal_of("\nrun: " + repeated("[", 600) + repeated("]", 600)).find("c.yaml:2" + deep) == 0);
  CHECK(refusal_of("\nrun: " + repeated("{a: ", 100000)).find("c.yaml:2" + deep) == 0);
  CHECK(refusal_of("", {repeated("a.", 100000) + "a=1"}) ==
        "--set " + shortened(repeated("a.", 100000)) +
            ": the path has 100001 parts; no key has more than 100");
  CHECK(refusal_of("", {"model.config=" + repeated("[", 100000)}).find("--set model.config" + deep) == 0);
}

TEST_CASE("a message quotes little of a long configuration") {
  const std::string long_text(100000, 'x'), digits(100000, '9');
  const std::string texts[] = {"run: {" + long_text + ": 1}",
                               "run: {name: [" + long_text + "]}",
                               long_text + ": {a: 1}",
                               "run: {name: !" + long_text + " x}",
                               "run: {name: *" + long_text + "}",
                               "train: {steps: " + digits + "}",
                               "train: {steps: " + long_text + "}",
                               "run: {name: " + digits + "}",
                               "optimizer: {lr: " + digits + "x}",
                               "run: {name: " + long_text + "}",
                               "callbacks: [" + long_text + "]",
                               "model: {config: {a: .inf, " + long_text + ": 1}}"};
  for (const std::string& text : texts) {
    CAPTURE(text.substr(0, 40));
    const std::string message = refusal_of(text);
    CHECK(message.find("c.yaml:1: ") == 0);
    CHECK(message.size() < 700);
  }
  for (const std::string& setting :
       {long_text, long_text + "=1", "run." + long_text + "=1", "train.steps=" + long_text, "=" + long_text,
        "run.name=[" + long_text, "train.steps=" + digits, "a.b." + long_text + "..=1"}) {
    CAPTURE(setting.substr(0, 40));
    CHECK(refusal_of("", {setting}).size() < 700);
  }
  CHECK(refusal_of("run: {name: " + std::string(4097, 'x') + "}") ==
        "c.yaml:1: run.name: a text of 4097 bytes; at most 4096 are wanted");
}

TEST_CASE("bytes that YAML does not allow are refused with their line") {
  check({
      {std::string("run: {name: a}\ntrain: {steps: 1}\0\n", 34),
       "c.yaml:2: not valid YAML: a byte 0x00; inside a double-quoted text write \\x00"},
      {"run: {name: a}\n\x04\ntrain: {steps: x}\n",
       "c.yaml:2: not valid YAML: a byte 0x04; inside a double-quoted text write \\x04"},
      {"run:\n  name: caf\xe9\n", "c.yaml:2: not UTF-8 text: byte 0xE9"},
      {"\xff\xfe"
       "a",
       "c.yaml:1: not UTF-8 text: byte 0xFF"},
  });
  CHECK(refusal_of(std::string(longest_yaml + 1, ' '))
            .find("cannot read c.yaml: it is longer than 4194304 bytes") == 0);
  CHECK(refusal_of("", {"run.name=" + std::string(longest_yaml + 1, ' ')}) ==
        "--set run.name: 4194305 bytes of YAML; at most 4194304 are read");
  CHECK(refusal_of("\xEF\xBB\xBFrun: {name: a}\r\ntrain: {steps: 1}\r\n") == "accepted");
  CHECK(refusal_of("run: {name: \"a\\x04\"}") == "accepted");
  CHECK(refusal_of("") == "accepted");
  CHECK(refusal_of("run:\n\tname: a").find("c.yaml:2: not valid YAML") == 0);
}

TEST_CASE("a list of values that is far too long, and one that merely is long, take little time") {
  std::string list = "callbacks: [", keys = "model: {config: {";
  for (int i = 0; i < 200000; ++i) list += "a,";
  for (int i = 0; i < 90000; ++i) keys += fmt::format("k{}: 1, ", i);
  CHECK(refusal_of(list + "a]").find("more than 100000 values") != std::string::npos);
  CHECK(refusal_of(keys + "a: 1}}") == "accepted");
}

TEST_CASE("sizes that nothing could be are refused by their key") {
  check({
      {"parallel: {dp_size: 100000}",
       "c.yaml:1: parallel.dp_size: found 100000; a whole number from 1 to 16384 is wanted"},
      {"train: {gradient_accumulation_steps: 2147483648}",
       "c.yaml:1: train.gradient_accumulation_steps: found 2147483648; a whole number from 1 to 1048576 is "
       "wanted"},
      {"data: {sequence_length: 1099511627776}",
       "c.yaml:1: data.sequence_length: found 1099511627776; a whole number from 1 to 2147483647 is wanted"},
      {"parallel: {virtual_stages: 1000000000}",
       "c.yaml:1: parallel.virtual_stages: found 1000000000; a whole number from 1 to 1024 is wanted"},
      {"device: {threads: 1000000000}",
       "c.yaml:1: device.threads: found 1000000000; a whole number from 0 to 4096 is wanted"},
      {"run: {stall_timeout_s: 1e300}",
       "c.yaml:1: run.stall_timeout_s: found 1e+300; a number above 0 and at most 1000000000 is wanted"},
      {"checkpoint: {keep_last: -1}",
       "c.yaml:1: checkpoint.keep_last: found -1; a whole number from 1 to 1000000000 is wanted"},
      {"parallel: {dp_size: 4096, pp_size: 4, tp_size: 2}",
       "c.yaml:1: parallel.dp_size: found 4096, with pp_size 4, tp_size 2 and cp_size 1; at most 16384 "
       "ranks, "
       "their product, are wanted"},
      {"parallel: {dp_size: 16384, pp_size: 16384, tp_size: 16384, cp_size: 16384}",
       "c.yaml:1: parallel.dp_size: found 16384, with pp_size 16384, tp_size 16384 and cp_size 16384; at "
       "most "
       "16384 ranks, their product, are wanted"},
      {"train: {micro_batch_size: 8000000, gradient_accumulation_steps: 1000000}",
       "c.yaml:1: train.gradient_accumulation_steps: found 1000000, with micro-batches of 8000000 sequences "
       "and 1 replicas; a step of at most 4294967295 sequences is wanted"},
  });
  CHECK(refusal_of("parallel: {dp_size: 64, pp_size: 8, tp_size: 8}") == "accepted");  // 4,096 ranks
}

TEST_CASE("keys remember where they were given") {
  const ScratchFolder folder;
  const std::string file = folder.write("c.yaml", "model:\n  config:\n    a: 1\n    b: {c: 2}\n");
  std::vector<std::string> warnings;
  const Config config = load_config(file, {"model.config.d=3"}, warnings);
  CHECK(config.file.places ==
        std::map<std::string, std::string>{{"model", file + ":1: model"},
                                           {"model.config", file + ":2: model.config"},
                                           {"model.config.a", file + ":3: model.config.a"},
                                           {"model.config.b", file + ":4: model.config.b"},
                                           {"model.config.d", "--set model.config.d"}});
  CHECK(config.file.place("model.config.a") == file + ":3: model.config.a");
  CHECK(config.file.place("optimizer.name") == "optimizer.name");
}

TEST_CASE("a configuration may come through a pipe, but not without an end") {
  const ScratchFolder folder;
  const std::string pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::thread writer([&] { std::ofstream(pipe) << "run: {name: piped}\n"; });
  std::vector<std::string> warnings;
  CHECK(load_config(pipe, {}, warnings).run.name == "piped");
  writer.join();
  CHECK(
      missing([&](const Config&) { load_config("/dev/zero", {}, warnings); }, {}) ==
      "cannot read /dev/zero: it is longer than 4194304 bytes, which is more than any file of its kind has");
}

TEST_CASE("a configuration file that cannot be read is named") {
  std::vector<std::string> warnings;
  CHECK(missing([&](const Config&) { load_config("/nowhere/c.yaml", {}, warnings); }, {}) ==
        "cannot read /nowhere/c.yaml: No such file or directory");
}

TEST_CASE("a wrong setting is refused by its key") {
  const std::vector<std::pair<std::vector<std::string>, std::string>> refusals = {
      {{"model.config={a: 1}, b"},
       "--set model.config: found a second YAML document (---), or text after the first; one is wanted"},
      {{"train.lr=1"}, "--set train.lr: unknown key; the nearest valid key is optimizer.lr"},
      {{"train.steps=x"},
       "--set train.steps: found 'x'; a whole number from 1 to 1000000000, or null, is wanted"},
      {{"train.steps=0"},
       "--set train.steps: found 0; a whole number from 1 to 1000000000, or null, is wanted"},
      {{"model.recompute=some"},
       "--set model.recompute: found 'some'; one of none, selective, full is wanted"},
      {{"train.steps"}, "--set train.steps: found no '='; key.path=value is wanted"},
      {{"=3"}, "--set =3: '' names no key; key.path=value is wanted"},
      {{"a..b=3"}, "--set a..b=3: 'a..b' names no key; key.path=value is wanted"},
      {{"data.train.0.path=*.txt"},
       "--set data.train.0.path: not valid YAML: the referenced anchor is not defined; a text with special "
       "characters needs "
       "quotes inside the value: '\"...\"'"},
      {{"train.steps=[1"},
       "--set train.steps: not valid YAML: end of sequence flow not found; a text with special characters "
       "needs quotes inside "
       "the value: '\"...\"'"},
      {{"data.eval.1.path=x"},
       "--set data.eval.1.path: data.eval is a list; found '1' where an index from 0 to 0 is wanted, as in "
       "data.eval.0"},
      {{"data.train.path=x"},
       "--set data.train.path: data.train is a list; found 'path' where an index from 0 to 1 is wanted, as "
       "in data.train.0"},
      {{"parallel.partition=uniform", "parallel.partition.0=1"},
       "--set parallel.partition.0: parallel.partition is 'uniform' here; only a map or a list has parts"},
      {{"optimizer={lr: 1, lrr: 2}"},
       "--set optimizer.lrr: unknown key; the nearest valid key is optimizer.lr (the options of adamw are "
       "lr, betas, eps, weight_decay)"},
      {{"optimizer={lr: 1, lr: 2}"}, "--set optimizer.lr: the key is given twice; keep one of the two"},
      {{"optimizer.lr.x=1"}, "--set optimizer.lr: found a map; a number of at least 0 is wanted"},
      {{"data.train.0.text=t"},
       "--set data.train.0.text: found with format text; text, prompt and completion belong to format jsonl"},
      {{"data.train.0.format=jsonl"},
       "c.yaml:3: data.train.0: found none of text, prompt, completion with format jsonl; " + kColumns},
  };
  for (const auto& [settings, message] : refusals) {
    CAPTURE(settings);
    CHECK(refusal_of("data:\n  train:\n    - {path: x}", settings) == message);
  }
}

TEST_CASE("a host program's configuration is checked by the same rules") {
  Config config;
  CHECK(check_message(config) == "nothing");
  config.optimizer.options.set("lr", std::nan(""));
  CHECK(check_message(config) == "optimizer.lr: found nan; a number of at least 0 is wanted");
  config = {};
  config.model.recompute = "half";
  CHECK(check_message(config) == "model.recompute: found 'half'; one of none, selective, full is wanted");
  config = {};
  config.data.train.resize(2);
  config.data.train[0].path = "x";
  CHECK(check_message(config) ==
        "data.train.1.path: missing; a file or a pattern such as data/*.txt is wanted");
  config = {};
  config.parallel.partition_list = {1};
  CHECK(check_message(config) ==
        "parallel.partition: found 'parameters' and a list; one of the two is wanted");
  config = {};
  config.model.config = nlohmann::json::array();
  CHECK(check_message(config) == "model.config: found JSON of type array; a map is wanted");
}

TEST_CASE("what training cannot do without is asked for by name") {
  Config config;
  config.file.path = "c.yaml";
  const auto expect = [&](const std::string& message) {
    CHECK(missing(require_training, config) == message);
  };
  expect("c.yaml: run.name: missing; a name for the run is wanted");
  config.run.name = "x";
  expect("c.yaml: run.dir: missing; the folder that the run is to be written to is wanted");
  config.run.dir = "runs/x";
  expect(
      "c.yaml: model.path: missing; a folder with a Hugging Face model is wanted, or model.from_scratch: "
      "true with "
      "model.config");
  config.model.from_scratch = true;
  expect(
      "c.yaml: model.config: missing; from scratch and with no model.path, the keys of a Hugging Face "
      "config.json are wanted");
  config.model.config["model_type"] = "llama";
  expect(
      "c.yaml: tokenizer.path: missing; a folder with a tokenizer is wanted, or tokenizer.kind: byte (there "
      "is no "
      "model.path to take it from)");
  config.tokenizer.kind = "byte";
  expect("c.yaml: data.train: missing; a list of sources is wanted, such as [{path: \"data/*.txt\"}]");
  config.data.train.resize(1);
  expect(
      "c.yaml: train.steps: missing; train.steps or train.epochs (or both: whichever ends first) is wanted");
  config.train.epochs = 1;
  expect("nothing");
  config.train = {};
  config.train.steps = 1;
  expect("nothing");
}

TEST_CASE("what evaluation cannot do without is asked for by name") {
  Config config;
  CHECK(missing(require_eval, config).find("model.path: missing;") == 0);
  config.model.path = "m";
  CHECK(missing(require_eval, config) ==
        "data.eval: missing; a list of sources is wanted, such as [{path: \"data/*.txt\"}], or eval.sets");
  config.data.eval.resize(1);
  CHECK(missing(require_eval, config) == "nothing");
  config.model.from_scratch = true;
  CHECK(missing(require_eval, config) ==
        "run.dir: missing; the model is from scratch: the folder of the run whose latest checkpoint is "
        "evaluated is wanted");
  config.run.dir = "runs/x";
  CHECK(missing(require_eval, config) == "nothing");
}
