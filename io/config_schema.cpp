#include "io/config_schema.hpp"

#include <algorithm>

#include "io/callback_options.hpp"
#include "io/dataset_formats.hpp"
#include "io/learning_rate_options.hpp"
#include "io/optimizer_options.hpp"

namespace collie::config {

namespace {

// Far above any real training, and small enough that no product overflows: positions in the data are steps
// times sequences, both below 2^32.
constexpr double kMostSteps = 1e9;
constexpr double kMostRanks = most_ranks;

void add(std::vector<Key>& all, std::vector<Key> keys) {
  all.insert(all.end(), keys.begin(), keys.end());
}

std::vector<Key> what_is_trained(Config& c) {
  return {
      Key("run.name", &c.run.name).doc("must be given; a name for people").or_null(),
      Key("run.dir", &c.run.dir)
          .doc("must be given; the run's folder. Only what a run wrote there is ever replaced or removed")
          .or_null()
          .also_known_as({"output_dir", "folder"}),
      Key("run.seed", &c.run.seed).doc("of initial weights and of the order of the data").fingerprinted(),
      Key("run.stall_timeout_s", &c.run.stall_timeout_s)
          .doc("seconds; a run without progress for so long ends and names who waits for what")
          .above(0)
          .at_most(1e9),

      Key("model.path", &c.model.path)
          .doc("a Hugging Face folder; must be given unless from_scratch with config")
          .or_null()
          .also_known_as({"model_name_or_path"}),
      Key("model.from_scratch", &c.model.from_scratch).doc("random weights instead of the folder's"),
      Key("model.config", &c.model.config)
          .doc("keys of config.json, laid over the folder's. A key that the engine does not know is refused "
               "with the nearest one that it does; a config.json may have such where they are switched off "
               "(null, false, 0)"),
      Key("model.resize_vocabulary", &c.model.resize_vocabulary)
          .doc(
              "tokens, 0: as many as the folder's model has. Rows of the embedding and the head are added, "
              "each the mean of those that are there, or the last ones taken away; for a tokenizer with more "
              "tokens, or tensor ranks that do not divide them")
          .at_least(0)
          .at_most(1 << 24)
          .also_known_as({"resize_token_embeddings", "vocab_size"}),
      Key("model.dtype", &c.model.dtype)
          .doc("what weights and activations are stored in, and what products multiply; sums are float32 or "
               "wider")
          .fingerprinted()
          .one_of({"float32", "bfloat16"})
          .also_known_as({"precision"}),
      Key("model.save_dtype", &c.model.save_dtype)
          .doc("in which final/ stores the weights; auto: model.dtype. A weight beyond float16's range, "
               "65504, ends "
               "the run with an error")
          .one_of({"auto", "float32", "bfloat16", "float16"}),
      Key("model.recompute", &c.model.recompute)
          .doc("activations that backward computes again instead of keeping them, with the same bits. "
               "selective: the norms' outputs and SwiGLU's, no matrix products; full: all of a block but its "
               "input")
          .one_of({"none", "selective", "full"})
          .also_known_as({"gradient_checkpointing", "activation_checkpointing"}),

      Key("model.frozen", &c.model.frozen)
          .doc("patterns over Hugging Face names, as in optimizer.groups; what matches is not trained and "
               "has no "
               "gradient and no optimizer state. A tied head is the embedding")
          .fingerprinted(),

      Key("model.dropout", &c.model.dropout)
          .doc("0.0: none, whatever config.json says; config: the rates of config.json (embd_pdrop, "
               "resid_pdrop, attn_pdrop, attention_dropout), in training only")
          .one_of({"0.0", "config"})
          .fingerprinted(),

      Key("tokenizer.path", &c.tokenizer.path)
          .doc("a folder with a tokenizer (data.md); null: model.path")
          .or_null(),
      Key("tokenizer.kind", &c.tokenizer.kind)
          .doc("auto: the folder's; byte: a token for each byte")
          .one_of({"auto", "byte"}),

      Key("data.train", &c.data.train).doc("must be given; a list of sources, see below"),
      Key("data.eval", &c.data.eval).doc("the same"),
      Key("data.sequence_length", &c.data.sequence_length)
          .doc("tokens of a window")
          .fingerprinted()
          .from_to(1, 2147483647)
          .also_known_as({"seq_length", "seq_len", "max_length", "block_size", "context_length"}),
      Key("data.packing", &c.data.packing)
          .doc("true: windows are cut from the documents' stream; samples: several whole documents in a "
               "window; "
               "false: one document in a sequence; auto: samples for prompt/completion and chat data, else "
               "true. "
               "Documents do not see each other")
          .one_of({"auto", "true", "samples", "false"}),
      Key("data.too_long", &c.data.too_long)
          .doc(
              "what becomes of a document that is longer than a window, where documents stay whole (packing: "
              "samples or false): cut into several, drop, or refuse the data")
          .one_of({"cut", "drop", "refuse"})
          .fingerprinted()
          .formerly("cut"),
      Key("data.max_bad_lines", &c.data.max_bad_lines)
          .doc("lines of a data file that may be wrong; they are left out, with a warning")
          .from_to(0, 1e12),
      Key("data.shuffle", &c.data.shuffle)
          .doc("another order of the sequences in each epoch")
          .fingerprinted(),
  };
}

std::vector<Key> how_it_is_trained(Config& c) {
  return {
      Key("train.steps", &c.train.steps)
          .doc("one of steps and epochs must be given; the run ends with whichever ends first")
          .from_to(1, kMostSteps)
          .also_known_as({"max_steps", "num_steps"}),
      Key("train.epochs", &c.train.epochs)
          .doc("passes over the data; a source with a weight is seen so many times in each")
          .from_to(1, kMostSteps)
          .also_known_as({"num_train_epochs", "max_epochs"}),
      Key("train.micro_batch_size", &c.train.micro_batch_size)
          .doc("sequences of a micro-batch")
          .from_to(1, 2147483647)
          .also_known_as({"batch_size", "per_device_train_batch_size"}),
      Key("train.gradient_accumulation_steps", &c.train.gradient_accumulation_steps)
          .doc("micro-batches of a step, per replica")
          .from_to(1, 1 << 20),
      Key("train.clip_grad_norm", &c.train.clip_grad_norm)
          .doc("the gradient is scaled down to this norm; 0: never")
          .fingerprinted()
          .at_least(0)
          .also_known_as({"max_grad_norm"}),
      Key("train.clip_grad_norm_mode", &c.train.clip_grad_norm_mode)
          .doc("of a fused update. exact: by the norm of the step's gradient, which takes a second backward "
               "where a step has one micro-batch; previous: by that of the step before, in one")
          .fingerprinted()
          .one_of({"exact", "previous"}),
      Key("train.clip_grad_value", &c.train.clip_grad_value)
          .doc(
              "each element of the gradient is clamped to [-value, value] before the norm is taken; 0: never")
          .fingerprinted()
          .at_least(0),
      Key("train.trainable", &c.train.trainable)
          .doc("patterns over Hugging Face names, as in optimizer.groups; what matches none is not trained, "
               "as "
               "if model.frozen named it; []: all is trained")
          .fingerprinted(),
      Key("train.loss", &c.train.loss)
          .doc("or one that a host program or a plugin registered")
          .fingerprinted(),

      Key("parallel.dp_size", &c.parallel.dp_size)
          .doc("replicas. Ranks are dp_size x tp_size x pp_size x cp_size")
          .from_to(1, kMostRanks),
      Key("parallel.tp_size", &c.parallel.tp_size)
          .doc("shards of every matrix; must divide the heads, intermediate_size and vocab_size")
          .from_to(1, kMostRanks),
      Key("parallel.pp_size", &c.parallel.pp_size)
          .doc("pipeline stages; at most the model's layers")
          .from_to(1, kMostRanks),
      Key("parallel.cp_size", &c.parallel.cp_size)
          .doc("parts of every micro-batch's tokens, which attend to each other around a ring")
          .from_to(1, kMostRanks),
      Key("parallel.sequence_parallel", &c.parallel.sequence_parallel)
          .doc("with tp_size > 1: norms and residuals on a share of the tokens"),
      Key("parallel.zero_stage", &c.parallel.zero_stage)
          .doc("over dp_size x cp_size ranks. 1 shards optimizer states, 2 gradients too, 3 weights too")
          .from_to(0, 3),
      Key("parallel.offload", &c.parallel.offload)
          .doc("optimizer: masters and states wait in the host's memory; activations: what blocks keep for "
               "their backward does; all: both. On the CPU all are the same")
          .one_of({"none", "optimizer", "activations", "all"})
          .not_yet({"parameters"}),
      Key("parallel.bucket_elements", &c.parallel.bucket_elements)
          .doc("gradients that are reduced together, at least; a layer is never cut")
          .from_to(1, 1e12),
      Key("parallel.schedule", &c.parallel.schedule).doc("or FILE.csv, in PyTorch's format"),
      Key("parallel.virtual_stages", &c.parallel.virtual_stages)
          .doc("stages per rank; 1: the schedule's own number (two for interleaved_1f1b, zbv and dualpipe_v, "
               "else one; a file's). Only interleaved_1f1b and files can have others. dualpipe_v needs at "
               "least 2 x pp_size - 1 micro-batches in a step")
          .from_to(1, 1024),
      Key("parallel.partition", PartitionTarget{&c.parallel.partition, &c.parallel.partition_list})
          .doc("parameters: the largest stage is as small as can be; uniform: by layers; measured: before "
               "the run layers are timed with its own micro-batches and shards, and cut so that the slowest "
               "rank is as fast as can be (a resume measures again). No cut changes a result")
          .from_to(0, 2147483647)
          .one_of({"parameters", "uniform", "measured"}),

  };
}

// The rule's own options stand behind its name.
std::vector<Key> how_it_is_updated(Config& c) {
  const std::string place = c.file.place("optimizer.name");
  std::vector<Key> all{
      Key("optimizer.name", &c.optimizer.name)
          .doc("or one that a host program or a plugin registered. Each has options of its own")
          .fingerprinted()};
  add(all, option_schema(optimizer_declarations().find(c.optimizer.name, place).options, c.optimizer.options,
                         "optimizer"));
  add(all,
      {
          Key("optimizer.master", &c.optimizer.master)
              .doc("with model.dtype bfloat16: a float32 copy of the weights is updated and rounded to the "
                   "model's; in checkpoints, too")
              .fingerprinted(),
          Key("optimizer.fused_update", &c.optimizer.fused_update)
              .doc("update each layer inside backward, as soon as its gradient is complete, and free the "
                   "gradient; for all but adamw_schedule_free, muon and sophia")
              .fingerprinted(),
          Key("optimizer.grad_dtype", &c.optimizer.grad_dtype)
              .doc("in which gradients are summed over micro-batches and ranks, with model.dtype bfloat16")
              .fingerprinted()
              .one_of({"float32", "bfloat16"}),
          Key("optimizer.state_dtype", &c.optimizer.state_dtype)
              .doc("in which the optimizer's states are stored; z of adamw_schedule_free stays float32")
              .fingerprinted()
              .one_of({"float32", "bfloat16"}),
          Key("optimizer.rounding", &c.optimizer.rounding)
              .doc("of updated bfloat16 weights without master, and of bfloat16 states")
              .fingerprinted()
              .one_of({"nearest", "stochastic"}),
          Key("optimizer.decay_norms_and_biases", &c.optimizer.decay_norms_and_biases)
              .doc("weight_decay covers parameters of one dimension, too; false: those of two or more, and "
                   "those of groups that give weight_decay")
              .fingerprinted()
              .formerly(true),
          Key("optimizer.groups", GroupsTarget{&c.optimizer})
              .doc("parameters with another rule or other options: {match: [pattern, ...], name, lr_scale, "
                   "and the "
                   "rule's options}, see below")
              .fingerprinted(),
      });
  return all;
}

// The schedule's own options stand behind its name.
std::vector<Key> how_the_rate_goes(Config& c) {
  const std::string place = c.file.place("lr_scheduler.name");
  std::vector<Key> all{
      Key("lr_scheduler.name", &c.lr_scheduler.name)
          .doc("or one that a host program or a plugin registered. Each has options of its own")
          .fingerprinted()
          .also_known_as({"type", "lr_scheduler_type"})};
  add(all, option_schema(learning_rate_declarations().find(c.lr_scheduler.name, place).options,
                         c.lr_scheduler.options, "lr_scheduler"));
  return all;
}

std::vector<Key> which_adapters_there_are(Config& c) {
  return {
      Key("peft.type", &c.peft.type)
          .doc(
              "lora: low-rank adapters are trained, and nothing else but what modules_to_save and bias name; "
              "adalora: the same, of ranks that are chosen while they are trained; "
              "ia3: vectors that multiply what matrices give or read; adapter: bottlenecks; prompt_tuning, "
              "p_tuning, prefix_tuning: virtual tokens alone are (peft.md). The keys here are those of "
              "Hugging "
              "Face's peft, and of the library adapters for bottlenecks")
          .fingerprinted()
          .one_of(
              {"none", "lora", "adalora", "ia3", "adapter", "prompt_tuning", "p_tuning", "prefix_tuning"}),
      Key("peft.path", &c.peft.path)
          .doc("a folder with adapter_config.json, to go on from; it says what the keys below are")
          .or_null(),
      Key("peft.r", &c.peft.r)
          .doc("the adapters' rank")
          .fingerprinted()
          .from_to(1, 65536)
          .also_known_as({"rank", "lora_r"}),
      Key("peft.lora_alpha", &c.peft.lora_alpha)
          .doc("what an adapter gives is multiplied by lora_alpha / r")
          .fingerprinted()
          .above(0)
          .at_most(1e6)
          .also_known_as({"alpha"}),
      Key("peft.lora_dropout", &c.peft.lora_dropout)
          .doc("of what an adapter reads, in training")
          .fingerprinted()
          .from_to_below(0, 1)
          .also_known_as({"dropout"}),
      Key("peft.target_modules", &c.peft.target_modules)
          .doc("the matrices with an adapter: names such as q_proj, or patterns, which match the ends of "
               "module names; or all-linear, without the head. []: q_proj and v_proj, or what holds them")
          .fingerprinted()
          .alone("all-linear"),
      Key("peft.rank_pattern", &c.peft.rank_pattern)
          .doc("r by regular expression of a module's name, such as {\"layers.0.*q_proj\": 16}; the first "
               "that "
               "matches counts")
          .fingerprinted()
          .from_to(0, 65536),
      Key("peft.alpha_pattern", &c.peft.alpha_pattern)
          .doc("the same of lora_alpha")
          .fingerprinted()
          .above(0)
          .at_most(1e6),
      Key("peft.layers_to_transform", &c.peft.layers_to_transform)
          .doc("numbers of the blocks, from 0, that have adapters; []: all")
          .fingerprinted(),
      Key("peft.feedforward_modules", &c.peft.feedforward_modules)
          .doc("ia3: those of the target_modules whose vector multiplies what they read. []: where "
               "target_modules is [], too, the matrix that the MLP ends with")
          .fingerprinted(),
      Key("peft.modules_to_save", &c.peft.modules_to_save)
          .doc("modules that are trained and saved whole, such as lm_head")
          .fingerprinted(),
      Key("peft.bias", &c.peft.bias)
          .doc("which biases are trained; lora_only: those of matrices with an adapter")
          .fingerprinted()
          .one_of({"none", "all", "lora_only"}),
      Key("peft.use_rslora", &c.peft.use_rslora)
          .doc("what an adapter gives is multiplied by lora_alpha / sqrt(r) (arXiv 2312.03732)")
          .fingerprinted(),
      Key("peft.use_dora", &c.peft.use_dora)
          .doc("the length of each row of the matrix is trained for itself (DoRA, arXiv 2402.09353)")
          .fingerprinted(),
      Key("peft.init_lora_weights", &c.peft.init_lora_weights)
          .doc("B begins as zeros; A as a linear layer does (true), or normal, of deviation 1 / r; false: "
               "both "
               "as linear layers do, for tests. pissa, olora: with the largest singular values of the matrix "
               "(arXiv 2404.02948), or its first QR factors (2406.01775), which the matrix is then without")
          .fingerprinted()
          .one_of({"true", "gaussian", "false", "pissa", "olora"}),
      Key("peft.adapter_config", &c.peft.adapter_config)
          .doc("adapter: seq_bn, which reads the residual stream after the MLP; double_seq_bn, two, which "
               "read "
               "what attention and the MLP give; par_bn, which reads the stream before the MLP")
          .fingerprinted()
          .one_of({"seq_bn", "double_seq_bn", "par_bn"}),
      Key("peft.reduction_factor", &c.peft.reduction_factor)
          .doc("hidden_size by the width of a bottleneck; 0: 16, and 2 for par_bn")
          .fingerprinted()
          .from_to(0, 65536),
      Key("peft.scaling", &c.peft.scaling)
          .doc("of what a bottleneck gives; 0: 1, and 4 for par_bn")
          .fingerprinted()
          .from_to(0, 1e6),
      Key("peft.non_linearity", &c.peft.non_linearity)
          .doc("of a bottleneck; auto: relu, and silu for double_seq_bn")
          .fingerprinted()
          .one_of({"auto", "relu", "silu", "gelu", "gelu_new"}),
      Key("peft.loraplus_lr_ratio", &c.peft.loraplus_lr_ratio)
          .doc("the learning rate of B by that of A (LoRA+, arXiv 2402.12354)")
          .fingerprinted()
          .above(0)
          .at_most(1e6),
  };
}

std::vector<Key> how_ranks_are_allocated(Config& c) {
  return {
      Key("peft.init_r", &c.peft.init_r)
          .doc("adalora: the rank that every matrix begins with")
          .fingerprinted()
          .from_to(1, 65536),
      Key("peft.target_r", &c.peft.target_r)
          .doc("the rank that matrices have in the end, on average; below init_r")
          .fingerprinted()
          .from_to(1, 65536),
      Key("peft.tinit", &c.peft.tinit).doc("updates before any rank is lost").fingerprinted().at_least(0),
      Key("peft.tfinal", &c.peft.tfinal)
          .doc("updates at the end in which ranks stay as they are")
          .fingerprinted()
          .at_least(0),
      Key("peft.deltaT", &c.peft.deltaT)
          .doc("updates from one choice of ranks to the next")
          .fingerprinted()
          .at_least(1),
      Key("peft.beta1", &c.peft.beta1)
          .doc("decay of the running mean of how much the loss depends on an element")
          .fingerprinted()
          .above(0),
      Key("peft.beta2", &c.peft.beta2).doc("the same of how uncertain that is").fingerprinted().above(0),
      Key("peft.orth_reg_weight", &c.peft.orth_reg_weight)
          .doc("of the mean distance of A Aᵀ and Bᵀ B from the identity, which the loss has added to it once "
               "a step; the loss that is reported is without it")
          .fingerprinted()
          .at_least(0),
      Key("peft.total_step", &c.peft.total_step)
          .doc("updates of the whole schedule. null: the steps of the run")
          .fingerprinted()
          .at_least(1),
  };
}

std::vector<Key> which_virtual_tokens_there_are(Config& c) {
  return {
      Key("peft.num_virtual_tokens", &c.peft.num_virtual_tokens)
          .doc("how many stand before every document. They are not counted in data.sequence_length, but take "
               "positions of the model")
          .fingerprinted()
          .from_to(1, 65536),
      Key("peft.prompt_tuning_init", &c.peft.prompt_tuning_init)
          .doc("as what they begin: RANDOM: normal, of deviation 1; TEXT: as the tokens of the text below, "
               "again and again; SAMPLE_VOCAB: as tokens that run.seed chooses")
          .fingerprinted()
          .one_of({"RANDOM", "TEXT", "SAMPLE_VOCAB"}),
      Key("peft.prompt_tuning_init_text", &c.peft.prompt_tuning_init_text)
          .doc("the text of TEXT")
          .fingerprinted()
          .or_null(),
      Key("peft.encoder_reparameterization_type", &c.peft.encoder_reparameterization_type)
          .doc("of p_tuning: what makes the virtual tokens' rows from those that are trained. MLP: three "
               "matrices with ReLU between them; LSTM: an LSTM in both directions, and two matrices")
          .fingerprinted()
          .one_of({"MLP", "LSTM"}),
      Key("peft.encoder_hidden_size", &c.peft.encoder_hidden_size)
          .doc("its inner width, or that of a prefix's projection. null: the width of the rows that are "
               "trained")
          .fingerprinted()
          .from_to(1, 65536),
      Key("peft.encoder_num_layers", &c.peft.encoder_num_layers)
          .doc("layers of the LSTM")
          .fingerprinted()
          .from_to(1, 64),
      Key("peft.encoder_dropout", &c.peft.encoder_dropout)
          .doc("between layers of the LSTM, in training")
          .fingerprinted()
          .from_to_below(0, 1),
      Key("peft.prefix_projection", &c.peft.prefix_projection)
          .doc("a prefix is made from narrower rows by two matrices with tanh between them. Not with "
               "parallel.pp_size above 1")
          .fingerprinted(),
  };
}

std::vector<Key> how_the_base_is_stored(Config& c) {
  return {
      Key("quantization.kind", &c.quantization.kind)
          .doc("the blocks' matrices, which are frozen under adapters, are held as codes of 4 bits (nf4, "
               "fp4) or 8 "
               "(int8), those of bitsandbytes (QLoRA, arXiv 2305.14314; peft.md)")
          .fingerprinted()
          .one_of({"none", "nf4", "fp4", "int8"})
          .also_known_as({"quant_type", "bnb_4bit_quant_type"}),
      Key("quantization.double_quant", &c.quantization.double_quant)
          .doc("of nf4 and fp4: the blocks' scales are codes of 8 bits, too")
          .fingerprinted()
          .also_known_as({"bnb_4bit_use_double_quant", "use_double_quant"}),
      Key("quantization.block_size", &c.quantization.block_size)
          .doc("of nf4 and fp4: elements that share a scale; 32, 64, 128, 256, 512, 1024, 2048 or 4096")
          .fingerprinted()
          .from_to(32, 4096),
      Key("quantization.compute_dtype", &c.quantization.compute_dtype)
          .doc("of the numbers that codes are made for a product; auto: model.dtype, and no other is there")
          .one_of({"auto", "float32", "bfloat16"})
          .also_known_as({"bnb_4bit_compute_dtype"}),
      Key("quantization.skip", &c.quantization.skip)
          .doc("matrices that are not quantised: names or patterns, which match the ends of module names, as "
               "in "
               "peft.target_modules. Embeddings and heads never are")
          .fingerprinted()
          .also_known_as({"llm_int8_skip_modules"}),
  };
}

std::vector<Key> what_goes_on_around_it(Config& c) {
  return {
      Key("eval.every_n_steps", &c.eval.every_n_steps)
          .doc("0: never")
          .from_to(0, kMostSteps)
          .also_known_as({"eval_steps"}),
      Key("eval.every_n_epochs", &c.eval.every_n_epochs).doc("0: never").from_to(0, kMostSteps),
      Key("eval.at_start", &c.eval.at_start)
          .doc("also before the first step; metrics.jsonl then has an object of step 0")
          .also_known_as({"eval_on_start"}),
      Key("eval.at_end", &c.eval.at_end).doc("also after the last step"),
      Key("eval.sets", &c.eval.sets)
          .doc("sets of samples beside data.eval, each evaluated by itself: {name, kind: perplexity | "
               "classification | generation, path, ...}, see evaluation.md")
          .also_known_as({"evaluators", "tasks"}),

      Key("checkpoint.every_n_steps", &c.checkpoint.every_n_steps)
          .doc("0: only at the end, on Ctrl-C and on SIGUSR1, and by the keys below")
          .from_to(0, kMostSteps)
          .also_known_as({"save_steps"}),
      Key("checkpoint.every_n_epochs", &c.checkpoint.every_n_epochs)
          .doc("also when so many epochs have ended since the last ones that did; 0: never")
          .from_to(0, kMostSteps)
          .also_known_as({"save_epochs"}),
      Key("checkpoint.every_n_minutes", &c.checkpoint.every_n_minutes)
          .doc("also after the step that ends so long after the last checkpoint, or the start; 0: never")
          .from_to(0, 1e9)
          .also_known_as({"every_minutes", "interval"}),
      Key("checkpoint.keep_last", &c.checkpoint.keep_last)
          .doc("older checkpoints are removed")
          .from_to(1, kMostSteps)
          .also_known_as({"save_total_limit"}),
      Key("checkpoint.keep_every", &c.checkpoint.keep_every)
          .doc("beside them, those of steps that this divides, for good; 0: none")
          .from_to(0, kMostSteps),
      Key("checkpoint.max_shard_size", &c.checkpoint.max_shard_size)
          .doc(
              "of a file of weights in final/: 50GB, 500MB (powers of 1,000), or a number of bytes. A larger "
              "model has several files and an index, as transformers writes them")
          .or_integer(),
      Key("checkpoint.keep_best", &c.checkpoint.keep_best)
          .doc("beside them, so many with the best best_metric; each is written when it is evaluated")
          .from_to(0, kMostSteps),
      Key("checkpoint.best_metric", &c.checkpoint.best_metric)
          .doc("what checkpoints are compared by: eval_loss, or eval/SET/METRIC of eval.sets, as "
               "metrics.jsonl has it")
          .also_known_as({"metric_for_best_model"}),
      Key("checkpoint.best_mode", &c.checkpoint.best_mode)
          .doc("whether lower or higher values are better; auto: lower, where the name ends with loss or "
               "perplexity")
          .one_of({"auto", "min", "max"})
          .also_known_as({"greater_is_better"}),

      Key("monitor.console", &c.monitor.console)
          .doc("progress: one line that is rewritten, where standard error is a terminal (TERM is set and "
               "not dumb); plain: a line every five seconds; auto: whichever fits")
          .one_of({"auto", "plain", "progress", "none"}),
      Key("monitor.tensorboard", &c.monitor.tensorboard)
          .doc("event files in tensorboard/, of the numbers of metrics.jsonl"),
      Key("monitor.csv", &c.monitor.csv).doc("metrics.csv, of the same numbers"),
      Key("monitor.trace", &c.monitor.trace).doc("trace.json, which https://ui.perfetto.dev opens"),
      Key("monitor.summary", &c.monitor.summary)
          .doc("summary.html at the end: curves, where time and memory went, what the ranks did in one step; "
               "one file that needs no network"),

      Key("monitor.prometheus", &c.monitor.prometheus)
          .doc("HOST:PORT at which Prometheus finds /metrics, such as 127.0.0.1:9464, on the machine of the "
               "trainer; null: nowhere (see monitoring.md)")
          .or_null()
          .also_known_as({"metrics_address"}),
      Key("monitor.prometheus_open", &c.monitor.prometheus_open)
          .doc("the address may be one that other machines reach. Whoever does may read the numbers: there "
               "is no password and no encryption"),
      Key("monitor.peak_flops", &c.monitor.peak_flops)
          .doc("floating-point operations per second of one device (a GPU, or the processors of a process) "
               "at its peak, of which the MFU is a share; 0: as known of the GPU, or as measured")
          .at_least(0),
      Key("monitor.measure_peak", &c.monitor.measure_peak)
          .doc("the peak is measured at the start, in 0.2 s, by products of matrices in model.dtype; not if "
               "peak_flops says it"),

      Key("callbacks", CallbacksTarget{&c.callbacks})
          .doc("pieces that watch the run (callbacks.md): names, those that a host program or a plugin "
               "registered among them, or maps of a name and its options"),
      Key("plugins", &c.plugins)
          .doc("shared libraries that register pieces (see extending.md). They are loaded before the other "
               "keys are read. A resumed run must have the same files"),

      Key("cluster.nodes", &c.cluster.nodes)
          .doc("HOST:PORT of nodes that hold the ranks (see cluster.md); empty: this process does"),
      Key("cluster.trusted_network", &c.cluster.trusted_network)
          .doc("tensors may travel unencrypted, which is faster, although there are certificates"),
      Key("cluster.secret_file", &c.cluster.secret_file)
          .doc("what processes without certificates must know; null: COLLIE_ENGINE_SECRET, else a file of "
               "the user's own")
          .or_null(),
      Key("cluster.tls.certificate", &c.cluster.tls.certificate)
          .doc("PEM files, all three or none")
          .or_null(),
      Key("cluster.tls.key", &c.cluster.tls.key)
          .doc("of the certificate; readable by its owner alone")
          .or_null(),
      Key("cluster.tls.ca", &c.cluster.tls.ca).doc("of the authority that signed the certificates").or_null(),

      Key("device.kind", &c.device.kind)
          .doc("auto: a GPU where one can be used, else the CPU; cuda: an error where none can (plan needs "
               "none)")
          .one_of({"auto", "cpu", "cuda"}),
      Key("device.threads", &c.device.threads)
          .doc("of the whole process; 0: all processors that it may use (affinity, and the CPU quota of its "
               "container)")
          .from_to(0, 4096)
          .also_known_as({"num_threads"}),
      Key("device.graphs", &c.device.graphs)
          .doc("auto: on a GPU repeated work is queued as CUDA graphs, with the same bits (see gpu.md)")
          .one_of({"off", "auto"}),
  };
}

}  // namespace

std::vector<Key> schema(Config& config) {
  std::vector<Key> all = what_is_trained(config);
  add(all, how_it_is_trained(config));
  add(all, how_it_is_updated(config));
  add(all, how_the_rate_goes(config));
  add(all, which_adapters_there_are(config));
  add(all, how_ranks_are_allocated(config));
  add(all, which_virtual_tokens_there_are(config));
  add(all, how_the_base_is_stored(config));
  add(all, what_goes_on_around_it(config));
  return all;
}

std::vector<Key> option_schema(const std::vector<Option>& options, OptionValues& values,
                               const std::string& section) {
  std::vector<Key> keys;
  for (const Option& option : options) {
    Key key = Key(section + "." + option.name, OptionTarget{&values, option})
                  .doc(option.doc)
                  .fingerprinted()
                  .also_known_as(option.aliases);
    key.range = option.range;
    key.valid = option.choices;
    keys.push_back(std::move(key));
  }
  return keys;
}

std::vector<Key> group_schema(const OptimizerConfig& optimizer, OptimizerGroup& group,
                              const std::string& path, const std::string& place) {
  std::vector<Option> options = optimizer_declarations()
                                    .find(rule_of(optimizer, group), place.empty() ? path + ".name" : place)
                                    .options;
  options.insert(
      options.begin(),
      {.name = "lr_scale", .initial = 1.0, .doc = "multiplies lr", .range = NumberRange::at_least(0)});
  std::vector<Key> keys{Key(path + ".match", &group.match), Key(path + ".name", &group.name).or_null()};
  add(keys, option_schema(options, group.options, path));
  return keys;
}

std::vector<Key> callback_schema(CallbackConfig& callback, const std::string& path) {
  std::vector<Option> options;
  if (callback_declarations().contains(callback.name))
    options = callback_declarations().find(callback.name).options;
  else
    for (const auto& [name, value] : callback.options.all()) options.push_back({name, value, ""});
  std::vector<Key> keys{Key(path + ".name", &callback.name)};
  add(keys, option_schema(options, callback.options, path));
  return keys;
}

namespace {

// The built-in ones in the order of their page, then those of host programs and plugins.
std::vector<std::string> names_of_formats() {
  std::vector<std::string> names = {"text", "jsonl", "chat", "tokens"};
  for (const std::string& name : dataset_formats().names())
    if (!std::count(names.begin(), names.end(), name)) names.push_back(name);
  return names;
}

}  // namespace

std::vector<Key> source_schema(DataSource& source, const std::string& path) {
  return {
      Key(path + ".path", &source.path).or_null().also_known_as({"file", "files"}),
      Key(path + ".format", &source.format).one_of(names_of_formats()).also_known_as({"type", "kind"}),
      Key(path + ".weight", &source.weight).at_least(0),
      Key(path + ".text", &source.text).or_null(),
      Key(path + ".prompt", &source.prompt).or_null(),
      Key(path + ".completion", &source.completion).or_null().also_known_as({"response", "answer"}),
      Key(path + ".messages", &source.messages).or_null().also_known_as({"conversations"}),
      Key(path + ".tools", &source.tools).or_null(),
      Key(path + ".chat_template", &source.chat_template).or_null(),
      Key(path + ".tokens", &source.tokens).or_null().also_known_as({"input_ids"}),
      Key(path + ".labels", &source.labels).or_null(),
      Key(path + ".add_bos", &source.add_bos).one_of({"auto", "true", "false"}),
      Key(path + ".add_eos", &source.add_eos).one_of({"auto", "true", "false"}),
  };
}

namespace {

// The keys of a set that belong to some kinds alone. A source's own are those of perplexity; a prompt, of
// all.
struct KindKey {
  const char* name;
  std::vector<std::string> kinds;
};

const std::vector<KindKey>& keys_of_kinds() {
  static const std::vector<std::string> perplexity = {"perplexity"}, classification = {"classification"},
                                        generation = {"generation"},
                                        generated = {"classification", "generation"};
  static const std::vector<KindKey> all = {{"text", perplexity},
                                           {"completion", perplexity},
                                           {"messages", perplexity},
                                           {"tools", perplexity},
                                           {"chat_template", perplexity},
                                           {"tokens", perplexity},
                                           {"labels", perplexity},
                                           {"add_eos", perplexity},
                                           {"options", classification},
                                           {"options_column", classification},
                                           {"label", classification},
                                           {"method", classification},
                                           {"score", classification},
                                           {"delimiter", classification},
                                           {"reference", generation},
                                           {"max_new_tokens", generated},
                                           {"temperature", generated},
                                           {"top_k", generated},
                                           {"top_p", generated},
                                           {"min_p", generated},
                                           {"repetition_penalty", generated},
                                           {"seed", generated},
                                           {"stop", generated},
                                           {"num_beams", generated},
                                           {"batch_size", generated},
                                           {"predictions", generated}};
  return all;
}

std::vector<std::string> names_of_set_formats() {
  std::vector<std::string> names = {"auto"};
  for (const std::string& name : names_of_formats()) names.push_back(name);
  return names;
}

std::vector<Key> how_texts_are_generated(EvalSet& set, const std::string& path) {
  constexpr double most_tokens = 1 << 24;
  return {
      Key(path + ".max_new_tokens", &set.max_new_tokens)
          .from_to(1, most_tokens)
          .also_known_as({"max_gen_toks", "max_tokens"}),
      Key(path + ".temperature", &set.temperature).from_to(0, 1e6),
      Key(path + ".top_k", &set.top_k).from_to(0, most_tokens),
      Key(path + ".top_p", &set.top_p).above(0).at_most(1),
      Key(path + ".min_p", &set.min_p).from_to(0, 1),
      Key(path + ".repetition_penalty", &set.repetition_penalty).above(0).at_most(1e6),
      Key(path + ".seed", &set.seed),
      Key(path + ".stop", &set.stop).also_known_as({"until", "stop_strings"}),
      Key(path + ".num_beams", &set.num_beams).only("1").also_known_as({"beams", "beam"}),
      Key(path + ".batch_size", &set.batch_size).from_to(1, 256),
  };
}

}  // namespace

std::vector<std::string> kinds_with_key(const std::string& name) {
  for (const KindKey& key : keys_of_kinds())
    if (name == key.name) return key.kinds;
  return {};
}

std::vector<Key> set_schema(EvalSet& set, const std::string& path) {
  std::vector<Key> all = {Key(path + ".name", &set.name).or_null(),
                          Key(path + ".kind", &set.kind)
                              .one_of({"perplexity", "classification", "generation"})
                              .also_known_as({"type"})};
  for (Key& key : source_schema(set.source, path)) {
    if (key.path == path + ".weight") continue;
    if (key.path == path + ".format") {
      key.target = &set.format;
      key.valid = names_of_set_formats();
    }
    all.push_back(std::move(key));
  }
  add(all, {
               Key(path + ".options", &set.options).or_integer().also_known_as({"choices", "doc_to_choice"}),
               Key(path + ".options_column", &set.options_column).or_null(),
               Key(path + ".label", &set.label).or_null().also_known_as({"target", "doc_to_target"}),
               Key(path + ".method", &set.method).one_of({"likelihood", "text"}),
               Key(path + ".score", &set.score).one_of({"sum", "mean", "bytes"}),
               Key(path + ".delimiter", &set.delimiter).also_known_as({"target_delimiter"}),
               Key(path + ".reference", &set.reference).or_null().also_known_as({"references", "answer"}),
           });
  add(all, how_texts_are_generated(set, path));
  add(all, {
               Key(path + ".limit", &set.limit).at_least(0).also_known_as({"max_samples"}),
               Key(path + ".metrics", &set.metrics).also_known_as({"metric_list"}),
               Key(path + ".predictions", &set.predictions),
           });
  return all;
}

}  // namespace collie::config
