"""The structure names of AAPM TG-263, and what stands for them.

Source: the names of the nomenclature worksheet of AAPM Task Group 263, edition of 2017-08-15
("TG263-Primary Name", 717 of them, and "TG-263-Reverse Order Name"); the rules for targets, margins
and partial structures are those of the report, "Standardizing Nomenclatures in Radiation Oncology"
(AAPM, January 2018). Spellings are the worksheet's own, slips included (``Hypothalmus``,
``LN_lliac_Int_R``). The Python package ``tg263`` 0.2.0 lacks some of them, and has others.
"""

from __future__ import annotations

from functools import cache

# One word a structure: "Cochlea+" is Cochlea, Cochlea_L and Cochlea_R; "Femur|" has the sides
# alone. A small x is a digit: of millimetres, of a dose in cGy.
_PRIMARY = """
    A_Aorta A_Aorta_Asc A_Brachiocephls A_Carotid+ A_Celiac A_Coronary+ A_Femoral_Cflx|
    A_Femoral| A_Humeral_Cflx| A_Humeral| A_Hypophyseal_I A_Hypophyseal_S A_Iliac_Cflx|
    A_Iliac_Ext| A_Iliac_Int| A_Iliac| A_LAD A_Mesenteric_I A_Mesenteric_S A_Pulmonary
    A_Subclavian+ A_Vertebral+ Acetabulum| Acetabulums AirWay_Dist AirWay_Prox Anus Appendix
    Arytenoid+ Atrium+
    Bag_Bowel Bag_Ostomy BileDuct_Common Bladder Bladder_Wall Bladder-CTV Body Body-PTV
    Bolus Bolus_xxmm Bone Bone_Ethmoid Bone_Frontal Bone_Hyoid Bone_Ilium+ Bone_Incus+
    Bone_Ischium| Bone_Lacrimal+ Bone_Mandible Bone_Mastoid+ Bone_Nasal+ Bone_Occipital
    Bone_Palatine+ Bone_Parietal+ Bone_Pelvic+ Bone_Sphenoid Bone_Temporal+ Bone_Zygomatic|
    Bone_Zygomatics BoneMarrow BoneMarrow_Act Boost Bowel Bowel_Large Bowel_Small
    BrachialPlex| BrachialPlexs Brain Brain-CTV Brain-GTV Brain-PTV Brainstem Brainstem_Core
    Brainstem_PRV Brainstem_PRVxx Brainstem_Surf Breast| Breasts Bronchus+ Bronchus_Main+
    Bronchus_PRVxx
    Canal_Anal Carina Cartlg_Thyroid CaudaEquina Cavernosum Cavity_Nasal Cavity_Oral Cecum
    Cerebellum Cerebrum+ Cervix Chestwall+ Cist_Pontine Cist_Suprasellar Clavicle| CN_III+
    CN_IX+ CN_V+ CN_VI+ CN_VII+ CN_VIII+ CN_XI+ CN_XII+ Cochlea+ Colon Colon_Ascending
    Colon_Decending Colon_PTVxx Colon_Sigmoid Colon_Transverse Cornea+ CribriformPlate
    Cricoid Cricopharyngeus CTV
    Dens Diaphragm Duodenum
    E-PTV_Ev05_xxxx E-PTV_xxxx Ear_External| Ear_Externals Ear_Internal| Ear_Internals
    Ear_Middle+ Edema Elbow+ Esophagus Esophagus_I Esophagus_M Esophagus_NAdj Esophagus_S
    Eval External Eye| Eyes
    Femur_Base| Femur_Head| Femur_Joint| Femur| Femur_Neck| Femur_Shaft| Femurs Fibula+
    Foley Fossa_Jugular Fossa_Posterior
    Gallbladder Genitals Glnd_Adrenal| Glnd_Lacrimal+ Glnd_Parathyroid Glnd_Subling|
    Glnd_Sublings Glnd_Submand| Glnd_Submands Glnd_Thymus Glnd_Thyroid Glottis GreatVes
    GreatVes_NAdj GrowthPlate| GTV
    Hardpalate Heart Hemisphere| Hemispheres Hippocampi Hippocampus| Humerus| Hypothalmus
    Hypothalmus_PRV Hypothalmus_PRVx
    IDL Ileum ITV
    Jejunum Jejunum_Ileum Joint_Elbow+ Joint_Glenohum+ Joint_Surface Joint_TM+
    Kidney_Cortex+ Kidney_Hilum| Kidney_Hilums Kidney| Kidney_L-GTV Kidney_Pelvis|
    Kidney_R-GTV Kidney-GTV Kidneys Knee+
    Laryngl_Pharynx Larynx Larynx_SG Leads Lens+ Lig_Hepatogastrc Lips Liver Liver-CTV
    Liver-GTV LN+ LN_Ax_Apical+ LN_Ax_Central| LN_Ax_Centrals LN_Ax| LN_Ax_L1| LN_Ax_L2|
    LN_Ax_L3| LN_Ax_Lateral| LN_Ax_Laterals LN_Ax_Pectoral| LN_Ax_Pectorals LN_Ax_Subscap|
    LN_Ax_Subscaps LN_Brachioceph| LN_Brachiocephs LN_Bronchpulm| LN_Bronchpulms
    LN_Diaphragmatic LN_Iliac_Ext| LN_Iliac_Int_L LN_Iliac| LN_IMN| LN_IMNs LN_Inguinofem+
    LN_Intercostals LN_Ligamentarter LN_lliac_Int_R LN_Mediastinals LN_Neck_IA| LN_Neck_IB|
    LN_Neck_II| LN_Neck_IIA| LN_Neck_IIB| LN_Neck_III| LN_Neck_IV| LN_Neck_V| LN_Neck_VA|
    LN_Neck_VB| LN_Neck_VC| LN_Neck_VI| LN_Neck_VII| LN_Obturator| LN_Paraaortic
    LN_Paramammary| LN_Paramammarys LN_Parasternal| LN_Parasternals LN_Pelvic| LN_Pelvics
    LN_Portahepatis LN_Presacral| LN_Pulmonary| LN_Pulmonarys LN_Sclav| LN_Supmammary|
    LN_Supmammarys LN_Trachbrnchs+ Lobe_Frontal+ Lobe_Occipital+ Lobe_Parietal+
    Lobe_Temporal+ Lung| Lung_LLL Lung_LUL Lung_RLL Lung_RML Lung_RUL Lungs Lungs-CTV
    Lungs-GTV Lungs-ITV Lungs-PTV
    Malleus+ Markers Maxilla+ Mediastinum Musc Musc_Constrict Musc_Constrict_I
    Musc_Constrict_M Musc_Constrict_S Musc_Digastric| Musc_Masseter+ Musc_Platysma|
    Musc_Pterygoid| Musc_Sclmast| Musc_Temporal|
    Nasalconcha_LI Nasalconcha_RI Nasopharynx Nose Nrv_Peripheral Nrv_Root
    OpticChiasm OpticChiasm_PRV OpticChiasm_PRVx OpticNrv+ OpticNrv_PRV+ OpticNrv_PRVxx|
    Orbit| Oropharynx Ovaries Ovary|
    Pacemaker Palate_Soft PancJejuno Pancreas Pancreas_Head Pancreas_Tail Parametrium
    Parotid| Parotids PenileBulb Penis Pericardium Perineum Peritoneum Pharynx Pineal
    Pituitary Pituitary_PRVxx Pons Postop Preop Proc_Condyloid| Proc_Coronoid| Prostate
    ProstateBed Prosthesis Pterygoid_Lat| Pterygoid_Med| PTV PubicSymphys+
    Radius| Rectal_Wall Rectum Retina| Retina_PRVxx| Retinas Rib Rib01| Rib02| Rib03| Rib04|
    Rib05| Rib06| Rib07| Rib08| Rib09| Rib10| Rib11| Rib12|
    SacralPlex Sacrum Scalp Scapula| Scar Scar_Boost Scrotum SeminalVes SeminalVes_Dist
    SeminalVes_Prox Sinus_Ethmoid Sinus_Frontal+ Sinus_Maxilry+ Sinus_Sphenoid+ Skin
    Skin_Perineum Skin_Peritoneum Skull Spc Spc_Bowel Spc_Bowel_Small Spc_Retrophar|
    Spc_Retrophars Spc_Retrosty+ Spc_Supraclav| Sphincter_Anal SpinalCanal SpinalCanal_PRV
    SpinalCanal_PRVx SpinalCord SpinalCord_Cerv SpinalCord_Lum SpinalCord_PRV
    SpinalCord_PRVxx SpinalCord_Sac SpinalCord_Thor Spleen Spleen_Hilum Spongiosum Stapes+
    Stomach Stomach_PRVxx Strct Strct_Suprapatel Surf_Eye SurgicalBed Sys_Ventricular
    Tendon Tendon_Quad Testis+ ThecalSac Thoracic_Duct Tongue Tongue_All Tongue_Base+
    Tongue_Oral+ Tonsil Trachea Trachea_NAdj TumorBed
    Ureter| UreterDivert Ureters Urethra Urethra_Prostatc Uterus
    V_Azygos V_Brachioceph| V_Iliac_Ext| V_Iliac_Int| V_Iliac| V_Jugular V_Jugular_Ext|
    V_Jugular_Int| V_Portal V_Pulmonary V_Subclavian| V_Subclavians V_Venacava_I
    V_Venacava_S Vagina Vagina_Surf VaginalCuff Valve Valve_Aortic Valve_Mitral
    Valve_Pulmonic Valve_Tricuspid VB VB_C VB_C1 VB_C2 VB_C3 VB_C4 VB_C5 VB_C6 VB_C7 VB_L
    VB_L1 VB_L2 VB_L3 VB_L4 VB_L5 VB_S VB_S1 VB_S2 VB_S3 VB_S4 VB_S5 VB_T VB_T01 VB_T02
    VB_T03 VB_T04 VB_T05 VB_T06 VB_T07 VB_T08 VB_T09 VB_T10 VB_T11 VB_T12 VBs Ventricle+
    VocalCord| VocalCords Vomer Vulva
    Wall_Vagina
"""

# Where the worksheet's reverse name is not the parts of the primary one in reverse order.
_REVERSED = {
    **{name: name for name in ("Bladder_Wall", "Jejunum_Ileum", "Rectal_Wall")},
    **{name: name for name in ("E-PTV_xxxx", "E-PTV_Ev05_xxxx")},
    "Kidney_L-GTV": "L_Kidney-GTV",
    "Kidney_R-GTV": "R_Kidney-GTV",
    "LN_lliac_Int_R": "R_Int_Iliac_LN",
    "LN_Trachbrnchs": "Trachbronchs_LN",
    "LN_Trachbrnchs_L": "L_Trachbronchs_LN",
    "LN_Trachbrnchs_R": "R_Trachbronchs_LN",
}


@cache
def primary_names() -> tuple[str, ...]:
    """Return the 717 primary names."""
    found = []
    for word in _PRIMARY.split():
        name = word.rstrip("+|")
        if word[-1] != "|":
            found.append(name)
        if word[-1] in "+|":
            found += [f"{name}_L", f"{name}_R"]
    return tuple(found)


@cache
def reverse_names() -> tuple[str, ...]:
    """Return the name in reverse order of each primary name, in the same order."""
    return tuple(
        _REVERSED.get(name) or "_".join(reversed(name.split("_"))) for name in primary_names()
    )
