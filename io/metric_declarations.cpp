// What the built-in metrics declare.
#include "io/metric_options.hpp"
#include "io/removal_pattern.hpp"

namespace collie {
namespace {

MetricDeclaration of_sums(const std::string& doc, bool right_tokens = false) {
  return {{}, {SetKind::perplexity}, doc, right_tokens};
}

// Options of what is counted for each class.
std::vector<Option> class_options() {
  return {{.name = "average",
           .initial = "macro",
           .doc = "macro: the mean over the classes that occur; weighted: the same, weighted by samples of "
                  "each class; micro: of all classes' counts; per_class: macro, and a number for each class; "
                  "binary: of positive_class alone",
           .choices = {"macro", "weighted", "micro", "per_class", "binary"}},
          {.name = "positive_class",
           .initial = int64_t{1},
           .doc = "index of the option that average: binary is about",
           .range = NumberRange::at_least(0),
           .aliases = {"pos_label"}}};
}

MetricDeclaration of_classes(const std::string& doc, std::vector<Option> options = {}) {
  return {{std::move(options)}, {SetKind::classification}, doc};
}

MetricDeclaration f_beta() {
  std::vector<Option> options = class_options();
  options.insert(options.begin(), {.name = "beta",
                                   .initial = 1.0,
                                   .doc = "the weight of recall against precision",
                                   .range = NumberRange::above(0)});
  return of_classes("(1 + beta²) times precision times recall / (beta² times precision + recall)", options);
}

// Options of metrics that compare whole answers.
Option ignore_case() {
  return {.name = "ignore_case", .initial = false, .doc = "upper and lower case are the same"};
}

MetricDeclaration of_texts(
    const std::string& doc, std::vector<Option> options,
    std::function<std::pair<std::string, std::string>(const OptionValues&)> complaint = {}) {
  return {{std::move(options), std::move(complaint)}, {SetKind::generation}, doc};
}

Option lowercase() {
  return {.name = "lowercase", .initial = false, .doc = "texts are compared in lower case"};
}

std::pair<std::string, std::string> bleu_complaint(const OptionValues& options) {
  const std::string& method = options.text("smooth_method");
  if (!options.has("smooth_value") || method == "floor" || method == "add-k") return {};
  return {"smooth_value", "found with smooth_method " + method + ", which has no value; null, or the " +
                              "smooth_method floor or add-k, is wanted"};
}

MetricDeclaration bleu() {
  return of_texts(
      "BLEU as sacreBLEU computes it, from 0 to 100",
      {{.name = "tokenize",
        .initial = "13a",
        .doc = "how texts are cut: 13a (WMT's), intl (at Unicode's punctuation and symbols), char, none (at "
               "white space)",
        .choices = {"13a", "intl", "char", "none"}},
       {.name = "smooth_method",
        .initial = "exp",
        .doc = "what becomes of n-grams without a match: exp halves their precision again and again, floor "
               "counts smooth_value matches, add-k adds smooth_value to matches and n-grams of 2 and more",
        .choices = {"exp", "floor", "add-k", "none"}},
       {.name = "smooth_value",
        .initial = 0.0,
        .doc = "of floor and add-k; null: 0.1 and 1",
        .range = NumberRange::at_least(0),
        .unset = true},
       lowercase(),
       {.name = "max_ngram_order",
        .initial = int64_t{4},
        .doc = "the longest n-grams",
        .range = NumberRange::from_to(1, 16)},
       {.name = "effective_order",
        .initial = false,
        .doc = "leaves out the lengths of n-grams that a text is too short for; right for level: sentence"},
       {.name = "level",
        .initial = "corpus",
        .doc = "corpus: of the n-grams of the whole set; sentence: the mean of what each sample has",
        .choices = {"corpus", "sentence"}}},
      bleu_complaint);
}

MetricDeclaration chrf() {
  return of_texts("chrF as sacreBLEU computes it, from 0 to 100; with word_order: 2 it is chrF++",
                  {{.name = "char_order",
                    .initial = int64_t{6},
                    .doc = "the longest n-grams of characters",
                    .range = NumberRange::from_to(1, 32)},
                   {.name = "word_order",
                    .initial = int64_t{0},
                    .doc = "the longest n-grams of words",
                    .range = NumberRange::from_to(0, 16)},
                   {.name = "beta",
                    .initial = 2.0,
                    .doc = "the weight of recall against precision",
                    .range = NumberRange::above(0)},
                   lowercase(),
                   {.name = "whitespace", .initial = false, .doc = "white space counts among the characters"},
                   {.name = "eps_smoothing",
                    .initial = false,
                    .doc = "the mean is of the F-scores of all lengths, as in chrF++.py, NLTK and Moses"}});
}

MetricDeclaration rouge(const std::string& doc) {
  return of_texts(
      doc +
          ", as rouge-score computes it: the mean of all samples' F-scores, and of precision "
          "and recall",
      {{.name = "use_stemmer",
        .initial = false,
        .doc = "words of more than three letters lose their endings (Porter's stemmer, English)"}});
}

std::pair<std::string, std::string> exact_match_complaint(const OptionValues& options) {
  const std::string wrong = RemovalPattern::complaint(options.text("ignore_pattern"));
  if (wrong.empty()) return {};
  return {"ignore_pattern", wrong};
}

MetricDeclaration exact_match() {
  return of_texts(
      "the share of samples whose text is one of the references",
      {{.name = "ignore_pattern",
        .initial = "",
        .doc = "a regular expression (PCRE2); what it matches is left out of both texts before all else",
        .aliases = {"regexes_to_ignore"}},
       ignore_case(),
       {.name = "ignore_punctuation", .initial = false, .doc = "leaves out ASCII's punctuation"},
       {.name = "ignore_numbers", .initial = false, .doc = "leaves out the digits 0 to 9"},
       {.name = "normalise",
        .initial = "none",
        .doc = "squad: as SQuAD's script, without case, punctuation, the articles a, an, the, and double "
               "spaces",
        .aliases = {"normalize"},
        .choices = {"none", "squad"}},
       {.name = "trim", .initial = true, .doc = "leaves out white space at both ends"}},
      exact_match_complaint);
}

MetricDeclaration numeric_answer() {
  return of_texts(
      "the share of samples with the right number, as lm-evaluation-harness' gsm8k: the reference's is after "
      "\"#### \"",
      {{.name = "extraction",
        .initial = "flexible",
        .doc = "flexible: the last number of the text; strict: the first after \"#### \"",
        .choices = {"flexible", "strict"}},
       {.name = "compare",
        .initial = "text",
        .doc = "text: the same digits, without commas, dollars and a last point; value: numbers that are "
               "equal, as 3.50 and 3.5",
        .choices = {"text", "value"}}});
}

}  // namespace

Registry<MetricDeclaration>& metric_declarations() {
  static Registry<MetricDeclaration>& registry = []() -> Registry<MetricDeclaration>& {
    static Registry<MetricDeclaration> all("metric", "eval.sets.metrics");
    all.add("perplexity", of_sums("exp of the mean loss of all tokens of the set"));
    all.add("loss", of_sums("the mean loss of all tokens of the set, in nats"));
    all.add("token_accuracy",
            of_sums("the share of tokens that are the most likely ones to the model", true));
    all.add("accuracy", of_classes("the share of samples whose right option is chosen"));
    all.add("f_beta", f_beta());
    all.add("precision",
            of_classes("how many of those that are given a class belong to it", class_options()));
    all.add("recall", of_classes("how many of those that belong to a class are given it", class_options()));
    all.add("bleu", bleu());
    all.add("chrf", chrf());
    all.add("rouge1", rouge("words of the text that are in the reference"));
    all.add("rouge2", rouge("the same of pairs of words"));
    all.add("rougeL", rouge("the longest common sequence of words"));
    all.add("rougeLsum", rouge("the same line by line"));
    all.add("exact_match", exact_match());
    all.add("numeric_answer", numeric_answer());
    return all;
  }();
  return registry;
}

}  // namespace collie
