// The metrics that the engine has. Their options are declared in io/metric_options.cpp; factories take values
// for all of them.
#pragma once

#include <memory>

#include "metrics/metric.hpp"

namespace collie {

// exp of the summed loss / the number of tokens of the whole set; the quotient itself; the share of right
// tokens.
std::unique_ptr<Metric> make_perplexity(const OptionValues& options);
std::unique_ptr<Metric> make_loss(const OptionValues& options);
std::unique_ptr<Metric> make_token_accuracy(const OptionValues& options);

// The share of samples whose predicted class is their label's.
std::unique_ptr<Metric> make_accuracy(const OptionValues& options);
// As scikit-learn's precision_recall_fscore_support, where what is divided by zero counts as 0. A sample that
// is given no class misses its label's, and no class gains one.
std::unique_ptr<Metric> make_f_beta(const OptionValues& options);
std::unique_ptr<Metric> make_precision(const OptionValues& options);
std::unique_ptr<Metric> make_recall(const OptionValues& options);

// BLEU as sacreBLEU's, from 0 to 100, of the n-grams of the whole set or as the mean of the samples' own.
std::unique_ptr<Metric> make_bleu(const OptionValues& options);
// chrF and chrF++ as sacreBLEU's, from 0 to 100, of the n-grams of the whole set.
std::unique_ptr<Metric> make_chrf(const OptionValues& options);

// As the package rouge-score: the means of all samples' F-scores, precision and recall, from 0 to 1. Of
// several references the one with the best F-score counts.
std::unique_ptr<Metric> make_rouge_1(const OptionValues& options);
std::unique_ptr<Metric> make_rouge_2(const OptionValues& options);
std::unique_ptr<Metric> make_rouge_l(const OptionValues& options);
std::unique_ptr<Metric> make_rouge_l_sum(const OptionValues& options);

// The share of samples whose text is one of the references, as the metric of that name of Hugging Face's
// evaluate, and after SQuAD's normalisation.
std::unique_ptr<Metric> make_exact_match(const OptionValues& options);
// The share of samples whose number is that of a reference, as lm-evaluation-harness' gsm8k.
std::unique_ptr<Metric> make_numeric_answer(const OptionValues& options);

}  // namespace collie
