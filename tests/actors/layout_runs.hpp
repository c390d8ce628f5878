// Whole runs of one small model in any layout, in this process or over several, and what is compared of them:
// losses, and the gradients of the first step.
#pragma once

#include <cmath>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "optim/parameter_groups.hpp"
#include "plan/run_plan.hpp"
#include "tests/io/temporary_folder.hpp"

namespace collie::test {

// What may not change the result.
struct LayoutOptions {
  int dp = 1, tp = 1, pp = 1, cp = 1;
  std::string schedule = "1f1b";
  int zero = 0;
  bool sequence_parallel = false;
  int processes = 1;  // 1: this one; otherwise so many nodes
  std::string device = "cpu", offload = "none", recompute = "none", graphs = "off";

  int ranks() const { return dp * tp * pp * cp; }
  // Only then are the sums taken in the order of one rank.
  bool bitwise() const { return dp == 1 && tp == 1 && cp == 1; }
  // Whether no option without effect on what ranks say to each other stands elsewhere than at its default: a
  // schedule without a pipeline, a ZeRO stage without replicas, sequence parallelism without cut matrices.
  bool every_option_counts() const;
  std::string name() const;
};

// What does.
struct MathsOptions {
  bool tied = true, packing = true;
  bool masked = false;  // prompts that are no targets
  int64_t sequences_per_step = 16;
  int64_t micro_batch_size = 1;
  std::string dtype = "float32";  // model.dtype, and what of optimizer goes with it
  bool master = true;
  std::string grad_dtype = "float32", rounding = "nearest";
  std::string optimizer = "adamw";       // a rule's name, or "mixed": three of them, and no state
  std::vector<std::string> frozen = {};  // model.frozen
  std::string family = "llama";          // model_type
  bool dropout = false;                  // with the rates of the family's config.json
  double clip_grad_value = 0, clip_grad_norm = 0;
  std::string clip_grad_norm_mode = "exact";
  std::string state_dtype = "float32";
  // Matrices whose parts on two tensor ranks (GPT-2: on one) are whole blocks of 8-bit states, and larger
  // ones.
  bool in_blocks = false;
  std::string peft = "none";  // or "lora" (queries and values), "lora_all" (all matrices, dropout, biases),
                              // "dora_all" (the same with magnitudes), "adalora", "adalora_all" (as the
                              // first two, of ranks that are chosen in steps 2 to 4), "ia3", "pissa",
                              // "olora" (all matrices), "seq_bn", "double_seq_bn", "par_bn", "prompt",
                              // "prefix", "ptuning", "ptuning_lstm", "prefix_mlp"
  std::string quantisation = "none";  // with adapters: quantization.kind
  std::string name() const;
  // Of losses where sums have another order. A rule that takes a sign, of a number or of a matrix, makes
  // whole steps of what was rounded, and so does one that quantises.
  double loss_tolerance() const {
    const auto is = [&](const char* name) { return optimizer == name; };
    if (dtype == "bfloat16") return 5e-3;
    return is("lion") || is("sophia") || is("muon") || is("mixed") || is("adamw_8bit") ? 1e-3 : 1e-5;
  }
  double gradient_tolerance() const { return dtype == "bfloat16" ? 2e-2 : 1e-5; }
};

// train.txt, eval.txt, and train.jsonl of questions and answers: what layout_config() trains on.
void write_texts(const TemporaryFolder& folder);
// What MathsOptions::peft and MathsOptions::optimizer stand for.
PeftSection peft_section(const std::string& peft);
// A name that ends with " averaged" is one whose weights the callback ema averages, which layout_config()
// adds.
OptimizerConfig optimizer_config(const std::string& name);

struct LayoutOutcome {
  std::vector<double> losses, norms;                    // by step
  std::map<std::string, std::vector<float>> gradients;  // of the first step, up to one factor
  std::string summary;                                  // of the last run, for people
};

// Where layouts of several processes have them: addresses of nodes, at least as many.
using NodeAddresses = std::vector<std::string>;

// Eight blocks, four heads (with two key/value heads where the family has groups), biases, bytes as tokens: a
// few ten thousand parameters.
Config layout_config(const TemporaryFolder& folder, const MathsOptions& maths, const LayoutOptions& layout,
                     int64_t steps);

// Writes a random model of the maths, without its adapters, for runs with adapters: to FOLDER/base/final.
void write_base(const TemporaryFolder& folder, const MathsOptions& maths);

// Adds the steps of a run to the outcome. Throws RunError where it fails.
void run_to_the_end(RunPlan plan, LayoutOutcome& outcome);

// Trains from scratch to the first of `until`, resumes to the next in the layout beside it, and so on. The
// first checkpoint must be of step 1: its first moments are the gradients.
LayoutOutcome run_layouts(const MathsOptions& maths,
                          const std::vector<std::pair<LayoutOptions, int64_t>>& until,
                          const NodeAddresses& nodes = {});

inline constexpr int64_t layout_steps = 20;

// Step 1 and the steps up to 10 in the first layout, the rest, resumed from its checkpoint, in the other.
LayoutOutcome run_halves(const MathsOptions& maths, const LayoutOptions& first, const LayoutOptions& then,
                         const NodeAddresses& nodes = {});
LayoutOutcome run_one_rank(const MathsOptions& maths);

// (dp, tp, pp, cp) with product <= 8 from {1, 2, 4}, every schedule, every ZeRO stage, with and without
// sequence parallelism, over each of the numbers of processes that divides the ranks.
std::vector<LayoutOptions> all_layouts(const std::vector<int>& processes = {1});
// Every layout can do all of them.
const std::vector<MathsOptions>& all_maths();

// The options of a layout, such as "dp2" and "zbv", as far as they do something (every_option_counts()).
std::vector<std::string> options_of(const LayoutOptions& layout);
// Of cases with such options, the indices of some that have every pair of options that any of them has.
// Greedily: the case with the most pairs that no earlier one has, until all pairs are there.
std::vector<size_t> covering_array(const std::vector<std::vector<std::string>>& cases);

// A layout, and the maths that it must get along with.
struct LayoutCase {
  MathsOptions maths;
  LayoutOptions layout;

  // Whether every option of the layout counts, and a step has the micro-batches that the schedule needs.
  bool is_possible() const;
  // Of both, as far as they do something.
  std::vector<std::string> options() const;
};
// A covering array of the cases. Those of the same maths stand together, so that one run on one rank serves
// them all, and each can go on in the next one's layout.
std::vector<std::vector<LayoutCase>> covering_cases(const std::vector<LayoutCase>& all);

// "" where the run is what one rank's is: to the bit, or within the bound of what changes the order of sums.
std::string complaint_of(const LayoutOutcome& found, const LayoutOutcome& expected, bool bitwise,
                         double loss_tolerance = MathsOptions().loss_tolerance(),
                         double gradient_tolerance = MathsOptions().gradient_tolerance());
// "" where run_halves() gave one rank's outcome, and over processes the bits of the same layouts in one.
std::string complaint_of_halves(const LayoutOutcome& found, const LayoutOutcome& one_rank,
                                const MathsOptions& maths, const LayoutOptions& first,
                                const LayoutOptions& then);

// The largest |a - b| / |b| of two runs' losses, and of their parameters' gradients by norm.
double loss_difference(const LayoutOutcome& a, const LayoutOutcome& b);
double gradient_difference(const LayoutOutcome& a, const LayoutOutcome& b, std::string& parameter);

}  // namespace collie::test
