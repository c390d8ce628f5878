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

}  // namespace collie
