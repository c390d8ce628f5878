#include "metrics/metric.hpp"

#include "metrics/built_in.hpp"

namespace collie {

void add_sums(MetricSums& sums, std::span<const double> more) {
  if (sums.size() < more.size()) sums.resize(more.size());
  for (size_t i = 0; i < more.size(); ++i) sums[i] += more[i];
}

MetricSums Metric::of_tokens(const TokenSums&) const {
  COLLIE_ASSERT(false, "this metric is not of perplexity sets");
}

MetricSums Metric::of_class(const ClassSample&) const {
  COLLIE_ASSERT(false, "this metric is not of classification sets");
}

MetricSums Metric::of_text(const TextSample&) const {
  COLLIE_ASSERT(false, "this metric is not of generation sets");
}

Registry<MetricFactory>& metrics() {
  static Registry<MetricFactory>& registry = []() -> Registry<MetricFactory>& {
    static Registry<MetricFactory> all("metric", "eval.sets.metrics");
    all.add("perplexity", make_perplexity);
    all.add("loss", make_loss);
    all.add("token_accuracy", make_token_accuracy);
    all.add("accuracy", make_accuracy);
    all.add("f_beta", make_f_beta);
    all.add("precision", make_precision);
    all.add("recall", make_recall);
    all.add("bleu", make_bleu);
    all.add("chrf", make_chrf);
    all.add("rouge1", make_rouge_1);
    all.add("rouge2", make_rouge_2);
    all.add("rougeL", make_rouge_l);
    all.add("rougeLsum", make_rouge_l_sum);
    all.add("exact_match", make_exact_match);
    all.add("numeric_answer", make_numeric_answer);
    return all;
  }();
  return registry;
}

void add_metric(const std::string& name, MetricDeclaration declaration, MetricFactory factory) {
  COLLIE_ASSERT(!declaration.kinds.empty(), "the metric '{}' declares no kind of set", name);
  metrics().add(name, std::move(factory));
  metric_declarations().add(name, std::move(declaration));
}

std::unique_ptr<Metric> make_metric(const MetricConfig& config) {
  return metrics().find(config.name)(options_in_force(config));
}

}  // namespace collie
