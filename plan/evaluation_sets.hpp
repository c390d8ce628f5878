// The sets of eval.sets as a run evaluates them: read, tokenised and checked before it starts.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/evaluation_samples.hpp"
#include "plan/run_plan.hpp"
#include "runtime/evaluation.hpp"
#include "runtime/likelihood_set.hpp"
#include "runtime/text_set.hpp"

namespace collie {

// One of the three is there, by the set's kind and method.
struct PlannedSet {
  EvalSet set;                                 // with the metrics that are computed
  std::shared_ptr<const SequenceOrder> order;  // perplexity
  std::vector<LikelihoodSample> likelihoods;   // classification by likelihood
  std::vector<TextTask> texts;                 // what is generated
  // Of the samples, and of how they are asked: numbers of sets with different ones cannot be compared.
  std::string fingerprint = {};
};

// Opens sources as data sets; `name` is the key of their list, for messages.
using OpenDataset = std::function<std::shared_ptr<const Dataset>(const std::vector<DataSource>& sources,
                                                                 const std::string& name)>;

// Reads config.eval.sets of the plan, whose tokenizer and model are known. Warns of prompts that are longer
// than the model has positions for: they lose their beginnings. Throws UserError naming the key, or the file
// and the line.
std::vector<std::shared_ptr<const PlannedSet>> plan_evaluation_sets(const RunPlan& plan,
                                                                    const OpenDataset& open);

// The evaluation of a plan that has something to evaluate (has_evaluation()). Predictions that are wanted are
// kept in the run's folder, or in plan.predictions_file.
std::unique_ptr<Evaluation> make_evaluation(const RunPlan& plan);
bool has_evaluation(const RunPlan& plan);

// Tokens of a prompt and an option after it, as in lm-evaluation-harness: white space at the end of the
// prompt goes to the option, both are tokenised as one text, and the option's tokens are those behind as many
// as the prompt alone has. `adds_bos`: BOS comes first. Without it, an empty prompt is BOS (else EOS). Throws
// UserError that begins with `place` if no token is the option's own.
LikelihoodOption tokenised_option(const Tokenizer& tokenizer, const std::string& prompt,
                                  const std::string& option, bool adds_bos, const std::string& place);

}  // namespace collie
