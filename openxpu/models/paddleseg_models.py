"""Models of PaddleSeg: its classes over its backbones, by the names of its configurations.

`GALLERY` has one line for each: name, class, backbone (- for none), and the arguments that differ from the class's own, `of_backbone` those
of its backbone."""

from __future__ import annotations

import ast
import functools
import importlib
from typing import Any

from openxpu.models.registry import Model
from openxpu.models.segmentation_data import CLASSES, scene_data

GALLERY = """
    ann_resnet50 ANN ResNet50_vd
    ann_resnet101 ANN ResNet101_vd
    attention_unet AttentionUNet -
    bisenetv1_resnet18 BiseNetV1 ResNet18_vd
    bisenetv2 BiSeNetV2 -
    ccnet_resnet101 CCNet ResNet101_vd {'recurrence':2}
    danet_resnet50 DANet ResNet50_vd {'backbone_indices':(2,3)}
    danet_resnet101 DANet ResNet101_vd {'backbone_indices':(2,3)}
    ddrnet23 DDRNet_23 -
    deeplabv3_resnet50 DeepLabV3 ResNet50_vd
    deeplabv3_resnet101 DeepLabV3 ResNet101_vd
    deeplabv3p_resnet50 DeepLabV3P ResNet50_vd
    deeplabv3p_resnet101 DeepLabV3P ResNet101_vd
    deeplabv3p_xception65 DeepLabV3P Xception65_deeplab {'backbone_indices':(0,1)}
    deeplabv3p_xception41 DeepLabV3P Xception41_deeplab {'backbone_indices':(0,1)}
    dmnet_resnet101 DMNet ResNet101_vd
    dnlnet_resnet50 DNLNet ResNet50_vd
    dnlnet_resnet101 DNLNet ResNet101_vd
    emanet_resnet50 EMANet ResNet50_vd
    emanet_resnet101 EMANet ResNet101_vd
    encnet_resnet101 ENCNet ResNet101_vd
    enet ENet -
    espnetv1 ESPNetV1 -
    espnetv2 ESPNetV2 -
    fastfcn_resnet50 FastFCN ResNet50_vd
    fastscnn FastSCNN -
    fcn_hrnet_w18 FCN HRNet_W18
    fcn_hrnet_w18_small FCN HRNet_W18_Small_V1
    fcn_hrnet_w48 FCN HRNet_W48
    fcn_uhrnet_w18_small FCN UHRNet_W18_Small
    fcn_uhrnet_w48 FCN UHRNet_W48
    gcnet_resnet50 GCNet ResNet50_vd
    gcnet_resnet101 GCNet ResNet101_vd
    ginet_resnet50 GINet ResNet50_vd
    glore_resnet50 GloRe ResNet50_vd
    gscnn_resnet50 GSCNN ResNet50_vd
    hardnet HarDNet -
    isanet_resnet50 ISANet ResNet50_vd {'backbone_indices':(2,3)}
    isanet_resnet101 ISANet ResNet101_vd {'backbone_indices':(2,3)}
    lraspp_mobilenetv3_large LRASPP MobileNetV3_large_x1_0
    lraspp_mobilenetv3_small LRASPP MobileNetV3_small_x1_0
    mobileseg_mobilenetv2 MobileSeg MobileNetV2_x1_0
    mobileseg_mobilenetv3 MobileSeg MobileNetV3_large_x1_0
    mobileseg_ghostnet MobileSeg GhostNet_x1_0
    mobileseg_litehrnet18 MobileSeg Lite_HRNet_18
    mobileseg_shufflenetv2 MobileSeg ShuffleNetV2_x1_0
    ocrnet_hrnet_w18 OCRNet HRNet_W18 {'backbone_indices':(0,)}
    ocrnet_hrnet_w48 OCRNet HRNet_W48 {'backbone_indices':(0,)}
    ocrnet_hrformer_small OCRNet HRFormer_small {'backbone_indices':(0,)}
    pfpn_resnet101 PFPNNet ResNet101_vd {'backbone_indices':(0,1,2,3),'channels':128}
    pp_humanseg_lite PPHumanSegLite -
    pp_liteseg_stdc1 PPLiteSeg STDC1
    pp_liteseg_stdc2 PPLiteSeg STDC2
    pp_mobileseg_base PPMobileSeg MobileSeg_Base {'of_backbone':{'inj_type':'AAMSx8','out_feat_chs':[64,128,192]}}
    pp_mobileseg_tiny PPMobileSeg MobileSeg_Tiny {'of_backbone':{'inj_type':'AAMSx8','out_feat_chs':[32,64,128]}}
    pspnet_resnet50 PSPNet ResNet50_vd
    pspnet_resnet101 PSPNet ResNet101_vd
    rtformer_base RTFormer -
    rtformer_slim RTFormer - {'base_channels':32,'head_channels':64,'use_injection':[True,False]}
    segformer_b0 SegFormer MixVisionTransformer_B0 {'embedding_dim':256}
    segformer_b1 SegFormer MixVisionTransformer_B1 {'embedding_dim':256}
    segformer_b2 SegFormer MixVisionTransformer_B2 {'embedding_dim':768}
    segformer_b3 SegFormer MixVisionTransformer_B3 {'embedding_dim':768}
    segformer_b4 SegFormer MixVisionTransformer_B4 {'embedding_dim':768}
    segformer_b5 SegFormer MixVisionTransformer_B5 {'embedding_dim':768}
    segnet SegNet -
    sinet SINet -
    stdcseg_stdc1 STDCSeg STDC1
    stdcseg_stdc2 STDCSeg STDC2
    topformer_tiny TopFormer TopTransformer_Tiny
    topformer_small TopFormer TopTransformer_Small
    topformer_base TopFormer TopTransformer_Base
    u2net U2Net -
    u2netp U2Netp -
    unet UNet -
    unet_deconv UNet - {'use_deconv':True}
    unet_3plus UNet3Plus -
    unet_plusplus UNetPlusPlus -
    upernet_resnet50 UPerNet ResNet50_vd {'backbone_indices':(0,1,2,3)}
"""
# Deep batch statistics of two samples leave little of a gradient to the last layers: ResNet, STDC.
RATES = {"ResN": 1e-1, "STDC": 3e-2}
# Those that would take minutes on larger pictures, and are whole with smaller ones.
SMALL = {"AttentionUNet", "HarDNet", "SegFormer", "SegNet", "U2Net", "UNet", "UNet3Plus", "UNetPlusPlus"}
# Among the models that the makers of XPUs publish as validated.
LISTED = {"deeplabv3p_resnet50", "deeplabv3p_resnet101", "deeplabv3_resnet50", "fcn_hrnet_w18", "fcn_hrnet_w48", "ocrnet_hrnet_w18",
          "ocrnet_hrnet_w48", "pp_liteseg_stdc1", "pp_liteseg_stdc2", "unet", "segformer_b0", "bisenetv2", "fastscnn",
          "pspnet_resnet50", "pp_humanseg_lite"}  # fmt: skip


def build(kind: str, backbone: str, arguments: dict[str, Any]) -> Any:
    """The class of this name over the backbone, with random weights. Some name their parameters, which Paddle allows once in a space of
    names."""
    import paddle

    suite = importlib.import_module("paddleseg.models")
    given = dict(arguments, num_classes=CLASSES)
    with paddle.utils.unique_name.guard():
        of_backbone = given.pop("of_backbone", {})
        if backbone != "-":
            given["backbone"] = getattr(suite.backbones, backbone)(**of_backbone)
        return getattr(suite, kind)(**given)


def models() -> list[Model]:
    found = []
    for line in GALLERY.strip().splitlines():
        name, kind, backbone, *rest = line.split(maxsplit=3)
        arguments = ast.literal_eval(rest[0]) if rest else {}
        found.append(
            Model(
                f"paddleseg/{name}",
                "segmentation",
                "PaddleSeg",
                functools.partial(build, kind, backbone, arguments),
                scene_data(64 if kind in SMALL else 128),
                requires="paddleseg",
                install="paddleseg==2.8.0",
                learning_rate=RATES.get(backbone[:4], 1e-2),
                listed=name in LISTED,
            )
        )
    return found
