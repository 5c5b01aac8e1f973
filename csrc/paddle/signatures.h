// Signatures of phi kernels for which Paddle's wheel has no header, or none that can be included.
// Nothing calls them: rows of kernels/*.inc take their types.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "paddle/phi/common/scalar.h"
#include "paddle/phi/core/dense_tensor.h"
#include "paddle/utils/optional.h"

namespace phi {

template <typename T, typename Context>
void AnchorGeneratorOpKernel(const Context& dev_ctx, const DenseTensor& input,
                             const std::vector<float>& anchor_sizes,
                             const std::vector<float>& aspect_ratios,
                             const std::vector<float>& variances, const std::vector<float>& stride,
                             float offset, DenseTensor* anchors, DenseTensor* variances_out);

template <typename T, typename Context>
void BipartiteMatchKernel(const Context& dev_ctx, const DenseTensor& distances,
                          const std::string& match_type, float threshold, DenseTensor* match,
                          DenseTensor* value);

template <typename T, typename Context>
void CollectFpnProposalsOpKernel(const Context& dev_ctx,
                                 const std::vector<const DenseTensor*>& rois,
                                 const std::vector<const DenseTensor*>& scores,
                                 const paddle::optional<std::vector<const DenseTensor*>>& rois_num,
                                 int post_nms_topn, DenseTensor* fpn_rois,
                                 DenseTensor* rois_num_out);

template <typename T, typename Context>
void SequenceMaskScalarKernel(const Context& dev_ctx, const DenseTensor& x, const Scalar& max_len,
                              DataType out_dtype, DenseTensor* y);

}  // namespace phi

namespace phi {

template <typename T, typename Context>
void IndexElementwisePutWithTensorKernel(
    const Context& dev_ctx, const DenseTensor& x, const std::vector<const DenseTensor*>& index,
    const DenseTensor& value, const std::vector<int64_t>& input_dims,
    const std::vector<int64_t>& input_strides, const std::vector<int64_t>& index_dims,
    const std::vector<int64_t>& index_strides, const int64_t slice_offset, DenseTensor* out);

template <typename T, typename Context>
void IndexElementwisePutWithTensorGradKernel(
    const Context& dev_ctx, const DenseTensor& x, const std::vector<const DenseTensor*>& index,
    const DenseTensor& value, const DenseTensor& out_grad, const std::vector<int64_t>& input_dims,
    const std::vector<int64_t>& input_strides, const std::vector<int64_t>& index_dims,
    const std::vector<int64_t>& index_strides, const int64_t slice_offset, DenseTensor* x_grad,
    DenseTensor* value_grad);

}  // namespace phi

namespace openxpu::paddle_plugin::signatures {

using Context = phi::CustomContext;
using In = const phi::DenseTensor&;
using Maybe = const paddle::optional<phi::DenseTensor>&;
using Out = phi::DenseTensor*;
using Text = const std::string&;

void FusedConv2dAddAct(const Context&, In input, In filter, Maybe bias, Maybe residual,
                       const std::vector<int>& strides, const std::vector<int>& paddings,
                       Text padding_algorithm, const std::vector<int>& dilations, int groups,
                       Text data_format, Text activation, const std::vector<int>& split_channels,
                       bool exhaustive_search, int workspace_size_mb, float fuse_alpha, Out output,
                       std::vector<phi::DenseTensor*> outputs);
void FlashMaskGrad(const Context&, In q, In k, In v, In startend_row_indices, In out,
                   In softmax_lse, In seed_offset, In out_grad, float dropout, bool causal, Out dq,
                   Out dk, Out dv);
void VariableLengthMemoryEfficientAttention(const Context&, In query, In key, In value, In seq_lens,
                                            In kv_seq_lens, Maybe mask, float scale, bool causal,
                                            int pre_cache_length, Out out);
void MemoryEfficientAttention(const Context&, In query, In key, In value, Maybe bias,
                              Maybe cu_seqlens_q, Maybe cu_seqlens_k, Maybe causal_diagonal,
                              Maybe seqlen_k, const phi::Scalar& max_seqlen_q,
                              const phi::Scalar& max_seqlen_k, bool causal, double dropout_p,
                              float scale, bool is_test, Out output, Out logsumexp,
                              Out seed_and_offset);
void MemoryEfficientAttentionGrad(const Context&, In query, In key, In value, Maybe bias,
                                  Maybe cu_seqlens_q, Maybe cu_seqlens_k, In output, In logsumexp,
                                  In seed_and_offset, In output_grad,
                                  const phi::Scalar& max_seqlen_q, const phi::Scalar& max_seqlen_k,
                                  const bool causal, const double dropout_p, const float scale,
                                  Out query_grad, Out key_grad, Out value_grad, Out bias_grad);
void MaskedMultiheadAttention(const Context&, In x, In cache_kv, Maybe bias, Maybe src_mask,
                              Maybe cum_offsets, Maybe sequence_lengths, Maybe rotary_tensor,
                              Maybe beam_cache_offset, Maybe qkv_out_scale, Maybe out_shift,
                              Maybe out_smooth, int seq_len, int rotary_emb_dims,
                              bool use_neox_rotary_style, Text compute_dtype, float out_scale,
                              int quant_round_type, float quant_max_bound, float quant_min_bound,
                              Out out, Out cache_kv_out, Out beam_cache_offset_out);
void BlockMultiheadAttention(
    const Context&, In qkv, In key_cache, In value_cache, In seq_lens_encoder, In seq_lens_decoder,
    In seq_lens_this_time, In padding_offsets, In cum_offsets, In cu_seqlens_q, In cu_seqlens_k,
    In block_tables, Maybe pre_key_cache, Maybe pre_value_cache, Maybe rope_emb, Maybe mask,
    Maybe tgt_mask, Maybe cache_k_quant_scales, Maybe cache_v_quant_scales,
    Maybe cache_k_dequant_scales, Maybe cache_v_dequant_scales, Maybe qkv_out_scale, Maybe qkv_bias,
    Maybe out_shift, Maybe out_smooth, Maybe max_enc_len_this_time, Maybe max_dec_len_this_time,
    int max_seq_len, int block_size, bool use_neox_style, const bool dynamic_cachekv_quant,
    const int quant_round_type, const float quant_max_bound, const float quant_min_bound,
    const float out_scale, Text compute_dtype, const float rope_theta, Out fmha_out, Out qkv_out,
    Out key_cache_out, Out value_cache_out);
void BlhaGetMaxLen(const Context&, In seq_lens_encoder, In seq_lens_decoder, In batch_size,
                   Out max_enc_len_this_time, Out max_dec_len_this_time);
void SelfDPAttention(const Context&, In x, const float alpha, const int head_number, Out out);

void FlashAttnQKVPacked(const Context&, In qkv, Maybe fixed_seed_offset, Maybe attn_mask,
                        float dropout, bool causal, bool return_softmax, bool is_test,
                        Text rng_name, Out out, Out softmax, Out softmax_lse, Out seed_offset);
void FlashAttnQKVPackedGrad(const Context&, In qkv, In out, In softmax_lse, In seed_offset,
                            Maybe attn_mask, In out_grad, float dropout, bool causal, Out qkv_grad);
void FusedDotProductAttention(const Context&, In q, In k, In v, Maybe bias, Maybe cu_seqlen_q,
                              Maybe cu_seqlen_kv, float scaling_factor, float dropout_probability,
                              bool is_training, Text mask_type, Text bias_type, Out out,
                              Out softmax_out, Out rng_state);
void FusedDotProductAttentionGrad(const Context&, In q, In k, In v, Maybe bias, Maybe cu_seqlen_q,
                                  Maybe cu_seqlen_kv, In out, In softmax_out, In rng_state,
                                  In out_grad, float scaling_factor, float dropout_probability,
                                  Text mask_type, Text bias_type, Out q_grad, Out k_grad,
                                  Out v_grad, Out bias_grad);

void FusedRope(const Context&, In q, Maybe k, Maybe v, Maybe sin, Maybe cos, Maybe position_ids,
               bool use_neox_rotary_style, bool time_major, float rotary_emb_base, Out out_q,
               Out out_k, Out out_v);
void FusedRopeGrad(const Context&, Maybe sin, Maybe cos, Maybe position_ids, In out_q_grad,
                   Maybe out_k_grad, Maybe out_v_grad, bool use_neox_rotary_style, bool time_major,
                   float rotary_emb_base, Out q_grad, Out k_grad, Out v_grad);

void RmsNorm(const Context&, In x, Maybe scale, const std::vector<int64_t>& normalized_shape,
             double epsilon, Out y, Out invvar);
void RmsNormGrad(const Context&, In x, Maybe scale, In invvar, In y_grad,
                 const std::vector<int64_t>& normalized_shape, double epsilon, Out x_grad,
                 Out scale_grad);
void FusedRmsNormExt(const Context&, In x, In scale, float epsilon, Out y, Out invvar);
void FusedRmsNormExtGrad(const Context&, In x, In scale, In invvar, In y_grad, float epsilon,
                         Out x_grad, Out scale_grad);
void FusedBiasDropoutResidualLayerNorm(const Context&, In x, In residual, Maybe bias,
                                       Maybe ln_scale, Maybe ln_bias, float dropout_rate,
                                       bool is_test, bool dropout_fix_seed, int dropout_seed,
                                       Text dropout_implementation, float ln_epsilon, Out y,
                                       Out bias_dropout_residual_out, Out dropout_mask_out,
                                       Out ln_mean, Out ln_variance);
void FusedBiasDropoutResidualLayerNormGrad(const Context&, In x, In residual, Maybe bias,
                                           Maybe ln_scale, Maybe ln_bias, In ln_mean,
                                           In ln_variance, In bias_dropout_residual_out,
                                           In dropout_mask_out, In y_grad, float dropout_rate,
                                           bool is_test, bool dropout_fix_seed, int dropout_seed,
                                           Text dropout_implementation, float ln_epsilon,
                                           Out x_grad, Out residual_grad, Out bias_grad,
                                           Out ln_scale_grad, Out ln_bias_grad);

void FusedDropoutAdd(const Context&, In x, In y, Maybe seed_tensor, const phi::Scalar& p,
                     bool is_test, Text mode, int seed, bool fix_seed, Out out, Out seed_offset);
void FusedDropoutAddGrad(const Context&, In seed_offset, In out_grad, const phi::Scalar& p,
                         bool is_test, Text mode, bool fix_seed, Out x_grad, Out y_grad);
void FusedGemmEpilogue(const Context&, In x, In y, In bias, const bool trans_x, const bool trans_y,
                       Text activation, Out out, Out reserve_space);
void FusedGemmEpilogueGrad(const Context&, In x, In y, Maybe reserve_space, In out_grad,
                           const bool trans_x, const bool trans_y, Text activation_grad, Out x_grad,
                           Out y_grad, Out bias_grad);
void FusedLinearParamGradAdd(const Context&, In x, In dout, Maybe dweight, Maybe dbias,
                             bool multi_precision, bool has_bias, Out dweight_out, Out dbias_out);

void MovingAverageAbsMaxScale(const Context&, In x, Maybe in_accum, Maybe in_state,
                              float moving_rate, bool is_test, Out out, Out out_scale,
                              Out out_state, Out out_accum);

}  // namespace openxpu::paddle_plugin::signatures

namespace openxpu::declared {

using phi::DenseTensor;
using Optional = paddle::optional<DenseTensor>;

template <typename T, typename Context>
void RintKernel(const Context&, const DenseTensor& x, DenseTensor* out);
template <typename T, typename Context>
void ShareDataKernel(const Context&, const DenseTensor& x, DenseTensor* out);
template <typename T, typename Context>
void SoftReluKernel(const Context&, const DenseTensor& x, float threshold, DenseTensor* out);
template <typename T, typename Context>
void HingeLossKernel(const Context&, const DenseTensor& logits, const DenseTensor& labels,
                     DenseTensor* loss);
template <typename T, typename Context>
void HingeLossGradKernel(const Context&, const DenseTensor& logits, const DenseTensor& labels,
                         const DenseTensor& loss_grad, DenseTensor* logits_grad);
template <typename T, typename Context>
void SwiGLUKernel(const Context&, const DenseTensor& x, const Optional& y, DenseTensor* out);
template <typename T, typename Context>
void SwiGLUGradKernel(const Context&, const DenseTensor& x, const Optional& y,
                      const DenseTensor& out_grad, DenseTensor* x_grad, DenseTensor* y_grad);
template <typename T, typename Context>
void StftKernel(const Context&, const DenseTensor& x, const DenseTensor& window, int n_fft,
                int hop_length, bool normalized, bool onesided, DenseTensor* out);
template <typename T, typename Context>
void StftGradKernel(const Context&, const DenseTensor& x, const DenseTensor& window,
                    const DenseTensor& out_grad, int n_fft, int hop_length, bool normalized,
                    bool onesided, DenseTensor* x_grad);
template <typename T, typename Context>
void VarKernel(const Context&, const DenseTensor& x, const std::vector<int64_t>& axis, bool keepdim,
               bool unbiased, double correction, DenseTensor* out);
template <typename T, typename Context>
void VarGradKernel(const Context&, const DenseTensor& x, const DenseTensor& out_grad,
                   const std::vector<int64_t>& axis, bool keepdim, bool unbiased, double correction,
                   DenseTensor* x_grad);
template <typename T, typename Context>
void StdGradKernel(const Context&, const DenseTensor& x, const DenseTensor& out,
                   const DenseTensor& out_grad, const std::vector<int64_t>& axis, bool keepdim,
                   bool unbiased, double correction, DenseTensor* x_grad);
// Paddle's header has one argument more than its kernel.
template <typename T, typename Context>
void BatchNormSecondGradKernel(const Context&, const DenseTensor& x, const Optional& scale,
                               const Optional& mean, const Optional& variance,
                               const DenseTensor& saved_mean, const DenseTensor& saved_variance,
                               const DenseTensor& y_grad, const Optional& x_grad_grad,
                               const Optional& scale_grad_grad, const Optional& bias_grad_grad,
                               float momentum, float epsilon, const std::string& data_layout,
                               bool is_test, bool use_global_stats, bool trainable_statistics,
                               DenseTensor* x_grad, DenseTensor* scale_grad,
                               DenseTensor* y_grad_grad);

}  // namespace openxpu::declared
